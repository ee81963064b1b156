//! Where a durable consumer was, kept beside its effects, for the day when the broker has forgotten it: made
//! again, it goes on from there instead of reading days of events that it knows.
//!
//! A number alone would be dangerous. A broker that lost its tail gives the same numbers to other messages,
//! so the message itself is remembered too, and without it the consumer starts from the beginning; its inbox
//! skips what was done.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use events::topology::{ConsumerSpec, Retention};
use sqlx::PgPool;
use time::format_description::well_known::Rfc3339;

use crate::bounded;

const EVERY: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Writes the position down every few seconds. Never returns.
pub async fn keep(js: &Context, pool: &PgPool, spec: &ConsumerSpec, durable: &str) -> ! {
    let mut last = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        match note(js, pool, spec, durable, last).await {
            Ok(noted) => last = noted,
            Err(error) => tracing::debug!(durable, error, "the position was not noted this time"),
        }
    }
}

async fn note(
    js: &Context,
    pool: &PgPool,
    spec: &ConsumerSpec,
    durable: &str,
    last: u64,
) -> Result<u64, BoxError> {
    let stream = js.get_stream(spec.stream.name).await?;
    let done = stream.consumer_info(durable).await?.ack_floor.stream_sequence;
    if done == last || spec.stream.retention == Retention::WorkQueue {
        return Ok(last);
    }
    let Some(stored_at) = stored_at(&stream, done).await else { return Ok(last) };
    let upsert = sqlx::query(
        "insert into consumer_positions (durable, stream_sequence, stored_at) values ($1, $2, $3)
         on conflict (durable) do update set stream_sequence = $2, stored_at = $3",
    );
    bounded(upsert.bind(durable).bind(done as i64).bind(stored_at).execute(pool)).await?;
    Ok(done)
}

/// From where a durable that has to be made again shall deliver.
pub async fn resume(pool: &PgPool, stream: &Stream, durable: &str) -> Result<DeliverPolicy, sqlx::Error> {
    let noted =
        sqlx::query_as("select stream_sequence, stored_at from consumer_positions where durable = $1");
    let noted: Option<(i64, String)> = bounded(noted.bind(durable).fetch_optional(pool)).await?;
    if let Some((sequence, then)) = noted
        && stored_at(stream, sequence as u64).await == Some(then)
    {
        return Ok(DeliverPolicy::ByStartSequence { start_sequence: sequence as u64 + 1 });
    }
    Ok(DeliverPolicy::All)
}

/// When the message was stored, to the nanosecond: together with its number that is the message.
async fn stored_at(stream: &Stream, sequence: u64) -> Option<String> {
    let message = stream.get_raw_message(sequence).await.ok()?;
    message.time.format(&Rfc3339).ok()
}
