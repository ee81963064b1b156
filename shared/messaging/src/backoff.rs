//! Exponential waits with jitter, so that instances that failed together do not return together.

use std::time::Duration;

use uuid::Uuid;

/// The wait before try number `attempt + 1`: `first` doubled for every attempt, at most `longest`, of which
/// up to a quarter is taken off at random.
pub fn delay(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let full = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(longest);
    full.mul_f64(1.0 - random_fraction() / 4.0)
}

fn random_fraction() -> f64 {
    f64::from(u16::from_be_bytes([Uuid::new_v4().as_bytes()[0], Uuid::new_v4().as_bytes()[1]]))
        / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |attempt| delay(Duration::from_millis(100), Duration::from_secs(5), attempt);
        assert!((75..=100).contains(&(wait(1).as_millis() as u64)));
        assert!((300..=400).contains(&(wait(3).as_millis() as u64)));
        assert!((3_750..=5_000).contains(&(wait(60).as_millis() as u64)));
    }
}
