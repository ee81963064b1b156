//! How far a consumer is behind, by the broker's account.

use std::fmt::Display;

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{Context, stream::Stream};
use events::topology::ConsumerSpec;

/// Times that the broker is asked, each with five seconds for the answer.
const TRIES: usize = 3;

/// Summed over the durables of one consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Not delivered yet.
    pub pending: u64,
    /// Delivered, not acknowledged yet.
    pub unacknowledged: u64,
    /// Delivered more than once and still not acknowledged.
    pub redelivered: u64,
    /// Requests for messages that wait at the broker: somebody is listening.
    pub waiting: u64,
}

impl Lag {
    pub fn total(&self) -> u64 {
        self.pending + self.unacknowledged
    }
}

/// `None` when the consumer has no position on the broker: its service never ran.
pub async fn of(js: &Context, spec: &ConsumerSpec) -> Result<Option<Lag>> {
    let mut sum = Lag::default();
    for durable in durables(js, spec).await? {
        let Some(durable) = durable else { return Ok(None) };
        let info = durable.cached_info();
        sum.pending += info.num_pending;
        sum.unacknowledged += info.num_ack_pending as u64;
        sum.redelivered += info.num_redelivered as u64;
        sum.waiting += info.num_waiting as u64;
    }
    Ok(Some(sum))
}

/// The consumer's durables on the broker; `None` for one that is not there.
pub async fn durables(js: &Context, spec: &ConsumerSpec) -> Result<Vec<Option<PullConsumer>>> {
    let stream = stream(js, spec.stream.name).await?;
    let mut found = Vec::new();
    for (name, _) in spec.durables() {
        found.push(match patiently(async || stream.get_consumer(&name).await).await {
            Ok(durable) => Some(durable),
            Err(error) if error.to_string().contains("not found") => None,
            Err(error) => return Err(anyhow!("the broker does not tell about the consumer {name}: {error}")),
        });
    }
    Ok(found)
}

pub async fn stream(js: &Context, name: &str) -> Result<Stream> {
    patiently(async || js.get_stream(name).await).await.with_context(|| {
        format!("the broker has no stream {name} or does not answer; the services make it when they start")
    })
}

/// A cluster that has lost a broker answers when it has chosen what leads instead, which takes it 4 to 9 s.
async fn patiently<T, E: Display>(ask: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..TRIES {
        match ask().await {
            Err(error) if error.to_string().contains("timed out") => {}
            answer => return answer,
        }
    }
    ask().await
}
