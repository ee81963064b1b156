//! Looks at the shop once a second while it is under load. What does not answer leaves a gap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, timeout};

use super::lag::Lags;
use super::processes::Processes;
use crate::shop::Shop;

const EVERY: Duration = Duration::from_secs(1);
/// What does not answer within this is not sampled.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// Events, by consumer.
    pub lag: BTreeMap<String, u64>,
    /// Processors in use, by part.
    pub cores: BTreeMap<String, f64>,
    /// Megabytes, by part.
    pub memory: BTreeMap<String, f64>,
}

/// Dropping it ends the sampling.
pub struct Observer {
    samples: Arc<Mutex<Vec<Sample>>>,
    looking: AbortHandle,
}

impl Observer {
    pub fn start(shop: Arc<Shop>, began: Instant) -> Result<Observer> {
        let lags = Lags::new(&shop)?;
        let samples = Arc::<Mutex<Vec<Sample>>>::default();
        let kept = samples.clone();
        let looking = tokio::spawn(async move {
            let mut processes = Processes::default();
            let mut clock = tokio::time::interval(EVERY);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let at = began.elapsed().as_secs_f64();
                let costs = processes.look(&shop);
                let lag = timeout(PATIENCE, lags.look_around()).await.unwrap_or_default();
                let sample = Sample { at, lag, cores: costs.cores, memory: costs.memory };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Ok(Observer { samples, looking: looking.abort_handle() })
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn last(&self) -> Option<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.looking.abort();
    }
}
