//! Open load: requests leave when the schedule says so, whatever became of those before, because customers
//! do not stop coming when the shop is slow. Latency is counted from the moment a request was due, not from
//! when it really left, so that a stall is seen by everybody who would have met it (no coordinated omission,
//! <https://www.youtube.com/watch?v=lJ8ydIuPFeU>).
//!
//! Memory is bounded: what is due while [`Limits::in_flight`] requests are open is not queued but remembered
//! as a number, and leaves late. The time it waited counts.

mod arrivals;
pub mod client;
pub mod histogram;
pub mod orders;
pub mod timeline;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::histogram::{Latencies, Percentiles};
use self::timeline::Timeline;

/// What leaves later than this was not held up by the schedule.
const LATE: Duration = Duration::from_millis(10);

/// Requests at a constant rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// A second.
    pub rate: f64,
    pub length: Duration,
}

impl Schedule {
    /// How many requests it has.
    pub fn count(&self) -> u64 {
        (self.rate * self.length.as_secs_f64()).round() as u64
    }

    /// When the n-th is due, counted from the beginning.
    pub fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests open at the same time, each with a connection of its own.
    pub in_flight: usize,
    /// What cannot leave within this of its time is not sent any more: its customer has left.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { in_flight: 2_000, patience: Duration::from_secs(10) }
    }
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 201: the order is stored.
    Accepted,
    /// Another status.
    Refused(u16),
    /// No answer, and why.
    Failed(&'static str),
}

/// What came of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcome {
    /// Requests a second by the schedule.
    pub rate: f64,
    /// From the first until the last answer.
    pub seconds: f64,
    pub due: u64,
    pub accepted: u64,
    /// Of them, those answered before the schedule was over.
    pub in_time: u64,
    /// Status or trouble, and how often.
    pub refused: BTreeMap<String, u64>,
    /// Left late, because too many others were open or the load generator could not keep its own pace.
    pub late: u64,
    /// From the moment a request was due until its 201, in milliseconds.
    pub latency: Percentiles,
    /// From the moment it left: what a closed loop would have measured.
    pub service_time: Percentiles,
}

impl Outcome {
    /// Orders accepted a second, as long as the schedule lasted: the answers after it, some of which may be late by half a
    /// minute, came when nobody asked any more.
    pub fn throughput(&self) -> f64 {
        self.in_time as f64 * self.rate / self.due.max(1) as f64
    }

    /// Share of the requests that left late.
    pub fn lateness(&self) -> f64 {
        self.late as f64 / self.due.max(1) as f64
    }

    /// Share of the requests that were answered 201.
    pub fn success(&self) -> f64 {
        self.accepted as f64 / self.due.max(1) as f64
    }
}

/// What is counted while it goes on.
#[derive(Default)]
struct Tally {
    accepted: u64,
    in_time: u64,
    refused: BTreeMap<String, u64>,
    late: u64,
    latency: Latencies,
    service_time: Latencies,
}

/// Shared by all requests of one schedule.
struct Book {
    timeline: Arc<Timeline>,
    /// When the schedule is over.
    over: Instant,
    tally: Mutex<Tally>,
}

impl Book {
    fn note(&self, due: Instant, left: Instant, answer: &Answer) {
        let now = Instant::now();
        self.timeline.note(now, now - due, answer);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.latency.record(now - due);
        tally.service_time.record(now - left);
        tally.late += u64::from(left - due > LATE);
        match answer {
            Answer::Accepted => {
                tally.accepted += 1;
                tally.in_time += u64::from(now <= self.over);
            }
            Answer::Refused(status) => *tally.refused.entry(status.to_string()).or_default() += 1,
            Answer::Failed(why) => *tally.refused.entry((*why).to_owned()).or_default() += 1,
        }
    }
}

/// Calls `send` with 0, 1, 2 … and the moment when each was due, and returns when the last is answered.
/// Dropping the future ends the arrivals.
pub async fn run<F>(
    schedule: Schedule,
    limits: Limits,
    timeline: Arc<Timeline>,
    send: impl Fn(u64, Instant) -> F + Send + 'static,
) -> Result<Outcome>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let stop = CancellationToken::new();
    let _stops_when_dropped = stop.clone().drop_guard();
    let requests = TaskTracker::new();
    let began = Instant::now();
    let book = Arc::new(Book { timeline, over: began + schedule.length, tally: Mutex::default() });
    let (said, arrived) = tokio::sync::oneshot::channel();
    let arrivals = arrivals::Arrivals {
        schedule,
        limits,
        began,
        stop,
        book: book.clone(),
        requests: requests.clone(),
        runtime: Handle::current(),
    };
    // A thread of its own: the runtime's timer counts whole milliseconds, and its workers may be busy.
    std::thread::Builder::new()
        .name("arrivals".to_owned())
        .spawn(move || {
            arrivals.keep(send);
            let _ = said.send(());
        })
        .context("cannot start a thread for the arrivals")?;
    arrived.await.context("the arrivals ended early: the thread panicked")?;
    requests.close();
    requests.wait().await;
    let seconds = began.elapsed().as_secs_f64();
    let tally = std::mem::take(&mut *book.tally.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Outcome {
        rate: schedule.rate,
        seconds,
        due: schedule.count(),
        accepted: tally.accepted,
        in_time: tally.in_time,
        refused: tally.refused,
        late: tally.late,
        latency: tally.latency.percentiles(),
        service_time: tally.service_time.percentiles(),
    })
}

#[cfg(test)]
mod tests;
