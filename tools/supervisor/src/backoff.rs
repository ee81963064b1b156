//! How long to wait before a dead process is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that lived this long was well: the next death is a new misfortune, not part of a series. Not
/// longer than the longest wait, so that somebody who kills processes on purpose does not wait either.
const HEALTHY: Duration = Duration::from_secs(10);

/// Doubles with every death in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// Records a death after `lived` and returns how long to wait.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY {
            self.deaths = 0;
        }
        self.deaths += 1;
        FIRST.saturating_mul(2u32.saturating_pow(self.deaths - 1)).min(LONGEST)
    }

    /// Deaths in a row so far.
    pub fn deaths(&self) -> u32 {
        self.deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        for _ in 0..100 {
            assert_eq!(backoff.after(Duration::ZERO), LONGEST);
        }
    }

    #[test]
    fn a_long_life_begins_a_new_series() {
        let mut backoff = Backoff::default();
        backoff.after(Duration::ZERO);
        backoff.after(Duration::from_secs(9));
        assert_eq!(backoff.after(Duration::from_secs(10)), FIRST);
        assert_eq!(backoff.deaths(), 1);
    }
}
