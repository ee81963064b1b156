//! The clock of the open load: a thread that sleeps until each request is due and then sends it off.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Answer, Book, Limits, Schedule};

/// What is due within it leaves together, a little late, which counts as latency: waking for each alone would take from
/// the machine what is to be measured.
const TICK: Duration = Duration::from_millis(1);
/// Between looks whether to stop, or whether a place has become free.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
const BETWEEN_TRIES: Duration = Duration::from_micros(200);

pub(super) struct Arrivals {
    pub schedule: Schedule,
    pub limits: Limits,
    pub began: Instant,
    pub stop: CancellationToken,
    pub book: Arc<Book>,
    pub requests: TaskTracker,
    pub runtime: Handle,
}

impl Arrivals {
    pub fn keep<F>(self, send: impl Fn(u64, Instant) -> F)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        sleep_exactly();
        let places = Arc::new(Semaphore::new(self.limits.in_flight));
        for n in 0..self.schedule.count() {
            let due = self.began + self.schedule.due(n);
            if !self.sleep_until(due) {
                return;
            }
            match self.place(&places, due) {
                Some(place) => self.set_off(send(n, due), due, place),
                None if self.stop.is_cancelled() => return,
                None => self.book.note(due, due, &Answer::Failed("could not be sent in time")),
            }
        }
    }

    fn set_off<F>(&self, request: F, due: Instant, place: OwnedSemaphorePermit)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (book, stop) = (self.book.clone(), self.stop.clone());
        // In a task it would be copied some four times.
        let request = Box::pin(request);
        let one = async move {
            let left = Instant::now();
            if let Some(answer) = stop.run_until_cancelled_owned(request).await {
                book.note(due, left, &answer);
            }
            drop(place);
        };
        self.requests.spawn_on(one, &self.runtime);
    }

    /// False when told to stop.
    fn sleep_until(&self, due: Instant) -> bool {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if self.stop.is_cancelled() || left.is_zero() {
                return !self.stop.is_cancelled();
            }
            std::thread::sleep(left.clamp(TICK, LONGEST_SLEEP));
        }
    }

    /// A place among those that are open, as soon as there is one; none when it is too late to leave.
    fn place(&self, places: &Arc<Semaphore>, due: Instant) -> Option<OwnedSemaphorePermit> {
        loop {
            // Asked first: after a stall many are overdue, and the oldest of them have given up.
            if due.elapsed() > self.limits.patience || self.stop.is_cancelled() {
                return None;
            }
            if let Ok(place) = places.clone().try_acquire_owned() {
                return Some(place);
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
    }
}

/// Otherwise Linux lets a sleeping thread sleep up to 50 µs more, which would count as latency of the shop
/// (`PR_SET_TIMERSLACK`, prctl(2)).
fn sleep_exactly() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
