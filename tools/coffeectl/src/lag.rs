//! How far a consumer is behind, by the broker's account.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{Context, stream::Stream};
use events::topology::ConsumerSpec;
use tokio::time::{Instant, sleep};

/// For a broker that will tell in a moment. It has five seconds for each answer.
const PATIENCE: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(250);

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

/// A cluster that has lost a broker does not answer, or says that it is unavailable for now, until it has chosen what leads
/// instead, which takes it 4 to 9 s.
async fn patiently<T, E: Display>(ask: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(error) if passes(&error.to_string()) && Instant::now() < deadline => sleep(ASK_AGAIN).await,
            answer => return answer,
        }
    }
}

fn passes(error: &str) -> bool {
    error.contains("timed out") || error.contains("temporarily unavailable")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn ask(error: &str, times: u32) -> (Result<(), String>, u32) {
        let asked = Cell::new(0);
        let answer = patiently(async || {
            asked.set(asked.get() + 1);
            if asked.get() <= times { Err(error.to_owned()) } else { Ok(()) }
        });
        (answer.await, asked.get())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_unavailable_for_now_is_asked_again_but_not_for_ever() {
        let unavailable = "JetStream system temporarily unavailable (code 503, error code 10008)";
        assert_eq!(ask(unavailable, 20).await, (Ok(()), 21));
        assert_eq!(ask(unavailable, u32::MAX).await, (Err(unavailable.to_owned()), 61));
        assert_eq!(ask("consumer not found", 1).await, (Err("consumer not found".to_owned()), 1));
    }
}
