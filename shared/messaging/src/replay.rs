//! Lets one consumer read its stream again from a point. Its inbox still recognises what was processed, so
//! a replay fills gaps (a database restored from a backup, a consumer that lost its place) and repeats nothing.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use events::topology::ConsumerSpec;
use futures::StreamExt;
use thiserror::Error;
use time::OffsetDateTime;

#[derive(Clone, Copy, Debug)]
pub enum From {
    Sequence(u64),
    Time(OffsetDateTime),
}

#[derive(Debug, Error)]
pub enum ReplayError {
    #[error("{0} has no position on the broker yet: start its service once first")]
    NoConsumer(String),
    #[error("{0} works on a queue, whose messages are gone when done; only streams can be replayed")]
    WorkQueue(&'static str),
    #[error("the broker: {0}")]
    Broker(String),
}

fn broker(error: impl std::fmt::Display) -> ReplayError {
    ReplayError::Broker(error.to_string())
}

/// What a replay would do.
#[derive(Debug)]
pub struct Plan {
    pub from_sequence: u64,
    pub last_sequence: u64,
}

pub async fn plan(js: &Context, spec: &ConsumerSpec, from: From) -> Result<Plan, ReplayError> {
    if spec.stream.retention == events::topology::Retention::WorkQueue {
        return Err(ReplayError::WorkQueue(spec.name));
    }
    let stream = js.get_stream(spec.stream.name).await.map_err(broker)?;
    let state = &stream.cached_info().state;
    let from_sequence = match from {
        From::Sequence(sequence) => sequence,
        From::Time(time) => first_at(&stream, time).await?.unwrap_or(state.last_sequence + 1),
    };
    Ok(Plan {
        from_sequence: from_sequence.max(state.first_sequence).max(1),
        last_sequence: state.last_sequence,
    })
}

/// Moves the consumer back (or forward) to the plan's start; its running instances go on from there.
pub async fn rewind(js: &Context, spec: &ConsumerSpec, plan: &Plan) -> Result<(), ReplayError> {
    let stream = js.get_stream(spec.stream.name).await.map_err(broker)?;
    for (durable, _) in spec.durables() {
        let mut consumer: PullConsumer =
            stream.get_consumer(&durable).await.map_err(|_| ReplayError::NoConsumer(durable.clone()))?;
        consumer.reset(Some(plan.from_sequence)).await.map_err(broker)?;
    }
    Ok(())
}

/// The first message stored at or after `time`.
async fn first_at(stream: &Stream, time: OffsetDateTime) -> Result<Option<u64>, ReplayError> {
    let reader = pull::Config {
        deliver_policy: DeliverPolicy::ByStartTime { start_time: time },
        ack_policy: AckPolicy::None,
        inactive_threshold: Duration::from_secs(30),
        ..pull::Config::default()
    };
    let reader = stream.create_consumer(reader).await.map_err(broker)?;
    let mut first = reader.fetch().max_messages(1).messages().await.map_err(broker)?;
    match first.next().await {
        Some(message) => Ok(Some(message.map_err(broker)?.info().map_err(broker)?.stream_sequence)),
        None => Ok(None),
    }
}
