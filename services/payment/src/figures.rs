//! What payment tells Prometheus beside what every service does.

use events::{Cents, Data};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use sqlx::PgPool;

use crate::domain::Outcome;
use crate::store;

const CALL_OUTCOMES: [&str; 6] = ["captured", "declined", "refunded", "unknown", "not reached", "refused"];

/// The help texts, and the zeros that counters begin with.
pub fn start() {
    describe_counter!("payment_calls_total", "Calls to the card processor, by how they ended");
    describe_histogram!("payment_call_duration_seconds", "Time of one call to the card processor");
    describe_gauge!(
        "payment_circuit_open",
        "1 while the card processor does not answer and is asked now and then"
    );
    describe_counter!("payment_captured_cents_total", "Money captured, in cents");
    describe_counter!("payment_refunded_cents_total", "Money given back, in cents");
    describe_gauge!("payments_due", "Charges and refunds to be made, counted up to 10000");
    CALL_OUTCOMES.into_iter().for_each(|outcome| count_calls(outcome, 0));
    counter!("payment_captured_cents_total").increment(0);
    counter!("payment_refunded_cents_total").increment(0);
    gauge!("payment_circuit_open").set(0.0);
}

pub fn called(outcome: &Outcome) {
    let label = match outcome {
        Outcome::Captured { .. } => "captured",
        Outcome::Declined { .. } => "declined",
        Outcome::Refunded => "refunded",
        Outcome::Unknown => "unknown",
        Outcome::NotReached => "not reached",
        Outcome::Refused { .. } => "refused",
    };
    count_calls(label, 1);
}

fn count_calls(outcome: &'static str, calls: u64) {
    counter!("payment_calls_total", "outcome" => outcome).increment(calls);
}

/// Money that changed hands, once that is written down.
#[derive(Default)]
pub struct Takings {
    captured: u64,
    refunded: u64,
}

impl Takings {
    pub fn add(&mut self, said: &Data) {
        match said {
            Data::PaymentCaptured(payment) => self.captured += cents(payment.amount),
            Data::PaymentRefunded(payment) => self.refunded += cents(payment.amount),
            _ => {}
        }
    }

    pub fn committed(&self) {
        counter!("payment_captured_cents_total").increment(self.captured);
        counter!("payment_refunded_cents_total").increment(self.refunded);
    }
}

fn cents(amount: Cents) -> u64 {
    amount.0.unsigned_abs()
}

pub async fn look(pool: PgPool) -> Result<(), sqlx::Error> {
    gauge!("payments_due").set(store::count_due(&pool).await? as f64);
    Ok(())
}
