//! Keeps a processor in trouble from being hammered: after many failures in a row only one request at a time
//! goes out, now and then, to see whether it is back. The first answer opens the way again.

use std::time::{Duration, Instant};

/// More than a processor that fails now and then produces in a row, fewer than are in flight.
const FAILURES: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub struct Circuit {
    failures_in_a_row: u32,
    last_try: Option<Instant>,
}

impl Circuit {
    /// How many of `wanted` requests may be made now.
    pub fn admit(&mut self, wanted: usize, now: Instant) -> usize {
        if !self.is_broken() {
            return wanted;
        }
        let is_time = self.last_try.is_none_or(|last| now.duration_since(last) >= TRY_EVERY);
        if is_time { wanted.min(1) } else { 0 }
    }

    /// A request was made although the way is closed.
    pub fn tried(&mut self, now: Instant) {
        self.last_try = Some(now);
    }

    pub fn report(&mut self, is_alive: bool, now: Instant) {
        let was_broken = self.is_broken();
        self.failures_in_a_row = if is_alive { 0 } else { self.failures_in_a_row.saturating_add(1) };
        if was_broken != self.is_broken() {
            self.last_try = Some(now);
            if is_alive {
                tracing::info!("the card processor answers again");
            } else {
                tracing::warn!("the card processor does not answer; payments wait");
            }
            metrics::gauge!("payment_circuit_open").set(if is_alive { 0.0 } else { 1.0 });
        }
    }

    fn is_broken(&self) -> bool {
        self.failures_in_a_row >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_processor_is_asked_now_and_then_and_trusted_again_at_its_first_answer() {
        let mut circuit = Circuit::default();
        let start = Instant::now();
        (0..FAILURES).for_each(|_| circuit.report(false, start));
        assert_eq!(circuit.admit(256, start), 0);
        assert_eq!(circuit.admit(256, start + TRY_EVERY), 1);
        circuit.tried(start + TRY_EVERY);
        assert_eq!(circuit.admit(256, start + TRY_EVERY), 0);
        circuit.report(true, start + TRY_EVERY);
        assert_eq!(circuit.admit(256, start + TRY_EVERY), 256);
    }

    #[test]
    fn failures_now_and_then_do_not_close_the_way() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for n in 0..1_000 {
            circuit.report(n % 10 == 0, now);
        }
        assert_eq!(circuit.admit(256, now), 256);
    }
}
