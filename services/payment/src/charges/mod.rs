//! Does what the consumer noted: asks the card processor about the payments that the consumer has claimed, claims itself what
//! else is due, with many requests in flight, and writes down many answers at once. No transaction is open while a request is.
//!
//! Whatever is lost on the way (this process, its claims, an answer, a commit) is harmless: the claim runs
//! out, somebody asks again under the same key, and the processor gives the answer it gave before.

mod circuit;
mod claims;
mod results;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use messaging::{Kept, failpoint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::{Attempt, Outcome, Payment};
use crate::figures;
use crate::processor::Processor;
use crate::store::Claimed;
use circuit::Circuit;

/// A claim outlives the call by this: time to write the answer down.
const TIME_TO_WRITE: Duration = Duration::from_secs(2);

/// Where payments are worked off.
pub struct Desk {
    pub kept: Arc<Kept>,
    pub caller: Arc<Caller>,
    /// Told when a payment may be due.
    pub due: Arc<Notify>,
    /// Told when there is something to say.
    pub outbox_written: Arc<Notify>,
    pub stop: CancellationToken,
}

impl Desk {
    /// Runs until told to stop; then waits for the answers of the requests under way and writes them down.
    pub async fn run(self, answers: Answers) -> anyhow::Result<()> {
        tokio::join!(claims::work(&self, answers.sender), results::write_down(&self, answers.incoming));
        Ok(())
    }
}

/// How a call ended, and the payment as it was claimed for it.
struct Answer {
    claimed: Payment,
    attempt: Attempt,
}

/// On their way from the calls to the database.
pub struct Answers {
    sender: mpsc::Sender<Answer>,
    incoming: mpsc::Receiver<Answer>,
}

/// The right to make one call.
pub type Place = OwnedSemaphorePermit;

/// Makes calls, and sees to what their ends say about the processor.
pub struct Caller {
    processor: Processor,
    circuit: Mutex<Circuit>,
    places: Arc<Semaphore>,
    in_flight: u32,
    /// Older payments wait for places.
    is_behind: AtomicBool,
    /// Weak, so that they end with the last call after a stop.
    answers: mpsc::WeakSender<Answer>,
}

impl Caller {
    /// At most so many requests are in flight.
    pub fn new(processor: Processor, in_flight: u32) -> (Caller, Answers) {
        let (sender, incoming) = mpsc::channel(2 * in_flight as usize);
        let caller = Caller {
            processor,
            circuit: Mutex::default(),
            places: Arc::new(Semaphore::new(in_flight as usize)),
            in_flight,
            is_behind: AtomicBool::new(false),
            answers: sender.downgrade(),
        };
        (caller, Answers { sender, incoming })
    }

    /// Places for new payments. None while older ones wait: new ones line up behind them.
    pub fn reserve_for_new(&self, most: usize) -> Vec<Place> {
        if self.is_behind.load(Ordering::Relaxed) { Vec::new() } else { self.reserve(most) }
    }

    /// Places that are free now, as many as the circuit admits. None after the end.
    fn reserve(&self, most: usize) -> Vec<Place> {
        let admitted = self.circuit().admit(most, Instant::now());
        let free = || Arc::clone(&self.places).try_acquire_owned().ok();
        std::iter::from_fn(free).take(admitted).collect()
    }

    /// For how long a payment is claimed: a call, and time to write the answer down.
    pub fn claim(&self) -> Duration {
        self.processor.timeout + TIME_TO_WRITE
    }

    /// Waits until no call is under way, and lets nobody begin another.
    async fn no_more(&self) {
        let _all = self.places.acquire_many(self.in_flight).await;
        self.places.close();
    }

    /// Makes the call that was claimed and has a place.
    pub fn start(self: &Arc<Caller>, claimed: Claimed, place: Place) {
        // Gone only when the service ends; then the claim runs out.
        let Some(answers) = self.answers.upgrade() else { return };
        self.circuit().tried(Instant::now());
        let caller = Arc::clone(self);
        tokio::spawn(async move {
            let _ = answers.send(caller.call(claimed).await).await;
            drop(place);
        });
    }

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
