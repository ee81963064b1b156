//! Does what the consumer noted: claims payments that are due, asks the card processor with many requests in
//! flight, and writes down many answers at once. No transaction is open while a request is.
//!
//! Whatever is lost on the way (this process, its claims, an answer, a commit) is harmless: the claim runs
//! out, somebody asks again under the same key, and the processor gives the answer it gave before.

mod circuit;
mod claims;
mod results;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use messaging::{Kept, failpoint};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::{Attempt, Outcome, Payment};
use crate::figures;
use crate::processor::Processor;
use crate::store::Claimed;
use circuit::Circuit;

/// Where payments are worked off.
pub struct Desk {
    pub kept: Arc<Kept>,
    pub processor: Processor,
    /// Requests to the processor under way at once.
    pub in_flight: u32,
    /// Told when a payment may be due.
    pub due: Arc<Notify>,
    /// Told when there is something to say.
    pub outbox_written: Arc<Notify>,
    pub stop: CancellationToken,
}

impl Desk {
    /// Runs until told to stop; then waits for the answers of the requests under way and writes them down.
    pub async fn run(self) -> anyhow::Result<()> {
        let (answers, incoming) = mpsc::channel(2 * self.in_flight as usize);
        let caller = Arc::new(Caller {
            processor: self.processor.clone(),
            circuit: Mutex::new(Circuit::default()),
            places: Arc::new(Semaphore::new(self.in_flight as usize)),
        });
        tokio::join!(claims::work(&self, caller, answers), results::write_down(&self, incoming));
        Ok(())
    }
}

/// How a call ended, and the payment as it was claimed for it.
struct Answer {
    claimed: Payment,
    attempt: Attempt,
}

/// Makes one call and sees to what its end says about the processor.
struct Caller {
    processor: Processor,
    circuit: Mutex<Circuit>,
    places: Arc<Semaphore>,
}

impl Caller {
    async fn call(&self, claimed: Claimed) -> Answer {
        let Claimed { payment, was_uncertain } = claimed;
        let started = Instant::now();
        failpoint::dies_at("charge-before-call");
        let outcome = self.processor.call(&payment).await;
        failpoint::dies_at("charge-after-call");
        if let Outcome::Refused { why } = &outcome {
            tracing::error!(order = %payment.order_id, trace = payment.trace.trace_id(), why,
                "the card processor refuses this request; this is a defect, not a declined card");
        }
        figures::called(&outcome);
        metrics::histogram!("payment_call_duration_seconds").record(started.elapsed().as_secs_f64());
        let is_alive = !matches!(outcome, Outcome::Unknown | Outcome::NotReached);
        self.circuit().report(is_alive, Instant::now());
        let order_id = payment.order_id.clone();
        let attempt = Attempt { order_id, number: payment.attempts, was_uncertain, outcome };
        Answer { claimed: payment, attempt }
    }

    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
