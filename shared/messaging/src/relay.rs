//! Publishes the outbox. Rows are claimed, published without waiting for each other, and marked only when
//! the broker has said that it stored them; whatever goes wrong in between is published again under the same
//! message id, which the broker's duplicate window and the consumers' inboxes recognise.
//!
//! Rows stay after publishing, so that a broker that lost its tail can be refilled. There is no `NOTIFY`
//! (it serialises commits) and no cursor over ids (it skips rows that commit late).

// The one place where events are published.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::streams::{self, SetupError};
use crate::{Settings, backoff};

/// Rows per claim: enough to hide the round trips, little enough to bound what a crash repeats.
const BATCH: i64 = 1_000;
/// How long a row may wait when nobody said that it was written (another instance wrote it).
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer is "unknown": publish again.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Advisory lock of the relay at work. One at a time in each database, so that an order's events leave in
/// the order in which they were written.
const LEADER: i64 = 0x6f75_7462_6f78;

pub struct Relay {
    pub pool: PgPool,
    pub jetstream: Context,
    /// For `ce-source`: the service's name.
    pub source: String,
    pub outbox_written: Arc<Notify>,
    pub settings: Settings,
    pub stop: CancellationToken,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    event_id: String,
    event_type: String,
    subject: String,
    occurred_at: OffsetDateTime,
    traceparent: Option<String>,
    tracestate: Option<String>,
    body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{failed} of {claimed} events were not stored by the broker, first: {first}")]
    Broker { failed: usize, claimed: usize, first: String },
}

impl Relay {
    /// Runs until told to stop; finishes the batch it has in hand. An error means that a stream exists with
    /// a definition that contradicts ours.
    pub async fn run(&self) -> Result<(), SetupError> {
        let mut failures = 0;
        self.declare_streams().await?;
        while !self.stop.is_cancelled() {
            let full = match self.publish_some().await {
                Ok(full) => {
                    failures = 0;
                    full
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the relay could not publish; the outbox keeps everything");
                    metrics::counter!("relay_failures_total").increment(1);
                    let pause = backoff::delay(Duration::from_millis(100), Duration::from_secs(1), failures);
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    // A stream may be what is missing.
                    self.declare_streams().await?;
                    continue;
                }
            };
            if !full {
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = self.outbox_written.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        }
        Ok(())
    }

    /// All streams, so that the shop's map is complete whichever service starts first.
    async fn declare_streams(&self) -> Result<(), SetupError> {
        for attempt in 1_u32.. {
            let declared = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                declared = streams::ensure_all(&self.jetstream, self.settings.streams) => declared,
            };
            match declared {
                Ok(()) => break,
                Err(conflict @ SetupError::Conflict(_)) => return Err(conflict),
                Err(SetupError::Broker(error)) => tracing::warn!(error, "cannot declare the streams yet"),
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(self.settings.outage_delay(attempt)) => {}
            }
        }
        Ok(())
    }

    /// Publishes one claim. `true` when there may be more.
    async fn publish_some(&self) -> Result<bool, RelayError> {
        // A transaction that waits for a broker known to be away would only hold locks.
        if self.jetstream.client().connection_state() != State::Connected || !self.is_work_waiting().await? {
            return Ok(false);
        }
        let mut tx = self.pool.begin().await?;
        let rows = claim(&mut tx).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        let claimed = rows.len();
        let (stored, first_error) = self.publish(rows).await;
        mark(&mut tx, &stored).await?;
        tx.commit().await?;
        metrics::counter!("relay_published_total").increment(stored.len() as u64);
        match first_error {
            Some(first) => Err(RelayError::Broker { failed: claimed - stored.len(), claimed, first }),
            None => Ok(claimed as i64 == BATCH),
        }
    }

    async fn is_work_waiting(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("select exists (select from outbox where published_at is null)")
            .fetch_one(&self.pool)
            .await
    }

    /// Sends all rows, then collects the answers: `(row id, stream sequence)` of those stored.
    async fn publish(&self, rows: Vec<Row>) -> (Vec<(i64, i64)>, Option<String>) {
        let mut first_error = None;
        let mut in_flight: Vec<(i64, PublishAckFuture)> = Vec::with_capacity(rows.len());
        let deadline = tokio::time::Instant::now() + PUBLISH_TIMEOUT;
        for row in rows {
            let (id, subject) = (row.id, row.subject.clone());
            let send = self.jetstream.send_publish(subject, self.message(row));
            match tokio::time::timeout_at(deadline, send).await {
                Ok(Ok(answer)) => in_flight.push((id, answer)),
                Ok(Err(error)) => first_error = first_error.or(Some(error.to_string())),
                Err(_) => {
                    first_error = first_error.or(Some("sending timed out".into()));
                    break;
                }
            }
        }
        let mut stored = Vec::with_capacity(in_flight.len());
        for (id, answer) in in_flight {
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(ack)) => stored.push((id, ack.sequence as i64)),
                Ok(Err(error)) => first_error = first_error.or(Some(error.to_string())),
                Err(_) => first_error = first_error.or(Some("no answer in time".into())),
            }
        }
        (stored, first_error)
    }

    /// CloudEvents 1.0 in binary mode (<https://github.com/cloudevents/spec>), W3C trace context, and the
    /// id by which the broker recognises a repetition.
    fn message(&self, row: Row) -> PublishMessage {
        let mut headers = HeaderMap::new();
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", row.event_id.as_str());
        headers.insert("ce-type", row.event_type);
        headers.insert("ce-source", format!("/{}", self.source));
        headers.insert("ce-time", row.occurred_at.format(&Rfc3339).unwrap_or_default());
        if let Some(traceparent) = row.traceparent {
            headers.insert("traceparent", traceparent);
        }
        if let Some(tracestate) = row.tracestate {
            headers.insert("tracestate", tracestate);
        }
        PublishMessage::build().payload(row.body.into()).headers(headers).message_id(row.event_id)
    }
}

/// The oldest unpublished rows, locked; none when another relay is at work.
async fn claim(tx: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
    let leads: bool =
        sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(LEADER).fetch_one(&mut *tx).await?;
    if !leads {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "select id, event_id, event_type, subject, occurred_at, traceparent, tracestate, body from outbox
         where published_at is null order by id limit $1 for update skip locked",
    )
    .bind(BATCH)
    .fetch_all(tx)
    .await
}

async fn mark(tx: &mut PgConnection, stored: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    let (ids, sequences): (Vec<i64>, Vec<i64>) = stored.iter().copied().unzip();
    sqlx::query(
        "update outbox set published_at = now(), stream_sequence = stored.sequence
         from unnest($1::bigint[], $2::bigint[]) as stored (id, sequence) where outbox.id = stored.id",
    )
    .bind(ids)
    .bind(sequences)
    .execute(tx)
    .await?;
    Ok(())
}
