//! Which traces are collected when nobody says: the first few of each second. So an order placed by hand is always one
//! of them, and thousands a second cost no more than a few. Jaeger calls this `ratelimiting`.
//!
//! Each kind of beginning (a route, a consumer) has a budget of its own: a page that asks for an order's state all
//! the time must not use up that of placing orders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use opentelemetry::trace::{Link, SpanKind, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// For spans that begin a trace; put it under `Sampler::ParentBased` for all others.
#[derive(Clone, Debug)]
pub struct PerSecond {
    rate: f64,
    /// By the span's name, of which there are few: names hold patterns, never ids.
    budgets: Arc<Mutex<HashMap<String, Budget>>>,
}

#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

impl PerSecond {
    pub fn new(rate: u32) -> PerSecond {
        PerSecond { rate: f64::from(rate), budgets: Default::default() }
    }

    /// The budget fills up continuously, to that of one second at most.
    fn takes(&self, name: &str, now: Instant) -> bool {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if !budgets.contains_key(name) {
            budgets.insert(name.to_owned(), Budget { left: self.rate, at: now });
        }
        let Some(budget) = budgets.get_mut(name) else { return false };
        let since = now.saturating_duration_since(budget.at).as_secs_f64();
        budget.left = (budget.left + since * self.rate).min(self.rate);
        budget.at = now;
        let takes = budget.left >= 1.0;
        if takes {
            budget.left -= 1.0;
        }
        takes
    }
}

impl ShouldSample for PerSecond {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let decision = if self.takes(name, Instant::now()) {
            SamplingDecision::RecordAndSample
        } else {
            SamplingDecision::Drop
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many of a thousand evenly spread over this time are taken.
    fn taken(sampler: &PerSecond, name: &str, from: Instant, over: Duration) -> usize {
        (0..1000).filter(|n| sampler.takes(name, from + over * *n / 1000)).count()
    }

    #[test]
    fn no_more_than_the_rate_are_taken_however_many_come() {
        let (sampler, start) = (PerSecond::new(20), Instant::now());
        assert_eq!(taken(&sampler, "a", start, Duration::ZERO), 20);
        let later = taken(&sampler, "a", start, Duration::from_secs(10));
        assert!((195..=200).contains(&later), "{later}");
    }

    #[test]
    fn a_few_a_second_are_all_taken_even_after_a_rush() {
        let (sampler, start) = (PerSecond::new(20), Instant::now());
        taken(&sampler, "a", start, Duration::from_secs(1));
        let quiet = start + Duration::from_secs(2);
        assert_eq!(taken(&sampler, "a", quiet, Duration::from_secs(100)), 1000);
    }

    #[test]
    fn one_kind_leaves_another_its_own() {
        let (sampler, now) = (PerSecond::new(1), Instant::now());
        assert!(sampler.takes("GET /orders/{id}", now) && !sampler.takes("GET /orders/{id}", now));
        assert!(sampler.takes("POST /orders", now));
    }

    #[test]
    fn none_a_second_is_none() {
        assert_eq!(taken(&PerSecond::new(0), "a", Instant::now(), Duration::from_secs(100)), 0);
    }
}
