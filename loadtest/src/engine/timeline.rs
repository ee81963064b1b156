//! What happened in each second of a run. Only the second that is going on has a histogram; those before are
//! a few numbers each, so an hour's soak costs as little memory as a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Answer;
use super::histogram::Latencies;

/// By the moment of the answer. Latencies are in milliseconds and of all answers, good and bad.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the run began.
    pub at: u64,
    pub accepted: u64,
    pub refused: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

pub struct Timeline {
    pub began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seconds: Vec<Second>,
    now: Second,
    latencies: Latencies,
}

impl Timeline {
    pub fn begin() -> Timeline {
        Timeline { began: Instant::now(), state: Mutex::default() }
    }

    pub fn note(&self, now: Instant, latency: Duration, answer: &Answer) {
        let at = (now - self.began).as_secs();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if at > state.now.at {
            state.turn_the_page(at);
        }
        match answer {
            Answer::Accepted => state.now.accepted += 1,
            Answer::Refused(_) | Answer::Failed(_) => state.now.refused += 1,
        }
        state.latencies.record(latency);
    }

    /// The last whole second in which something was answered, if that is not long ago.
    pub fn last(&self) -> Option<Second> {
        let now = self.began.elapsed().as_secs();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = if state.now.at < now { state.finished() } else { state.seconds.last().cloned()? };
        (last.at + 3 > now).then_some(last)
    }

    /// Seconds in which nothing was answered are left out.
    pub fn seconds(&self) -> Vec<Second> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.finished();
        let is_empty = now.accepted + now.refused == 0;
        state.seconds.iter().cloned().chain((!is_empty).then_some(now)).collect()
    }
}

impl State {
    fn turn_the_page(&mut self, at: u64) {
        if self.now.accepted + self.now.refused > 0 {
            let finished = self.finished();
            self.seconds.push(finished);
        }
        self.now = Second { at, ..Second::default() };
        self.latencies.reset();
    }

    fn finished(&self) -> Second {
        let found = self.latencies.percentiles();
        Second { p50: found.p50, p95: found.p95, p99: found.p99, max: found.max, ..self.now.clone() }
    }
}
