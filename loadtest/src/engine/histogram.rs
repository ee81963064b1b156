//! Latencies in an HdrHistogram: every value counted, three digits kept, in memory that does not grow.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Two minutes in microseconds; what takes longer counts as this.
const LONGEST: u64 = 120_000_000;
const DIGITS: u8 = 3;

pub struct Latencies(Histogram<u64>);

/// In milliseconds; 0 when there is nothing to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds are constants"))
    }
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        self.record_micros(u64::try_from(latency.as_micros()).unwrap_or(LONGEST));
    }

    pub fn record_micros(&mut self, micros: u64) {
        self.0.saturating_record(micros.clamp(1, LONGEST));
    }

    pub fn reset(&mut self) {
        self.0.reset();
    }

    pub fn percentiles(&self) -> Percentiles {
        if self.0.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        Percentiles {
            count: self.0.len(),
            mean: self.0.mean() / 1_000.0,
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1_000.0,
        }
    }
}

impl FromIterator<u64> for Latencies {
    /// Of microseconds.
    fn from_iter<I: IntoIterator<Item = u64>>(micros: I) -> Latencies {
        let mut all = Latencies::default();
        micros.into_iter().for_each(|micros| all.record_micros(micros));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let found: Percentiles = (1..=1_000u64).map(|ms| ms * 1_000).collect::<Latencies>().percentiles();
        assert_eq!((found.count, found.p50.round(), found.p99.round()), (1_000, 500.0, 990.0));
        assert!((found.max - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn what_takes_for_ever_still_counts() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(1_000));
        assert_eq!(latencies.percentiles().count, 1);
    }
}
