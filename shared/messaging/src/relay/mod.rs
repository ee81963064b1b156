//! Publishes the outbox. Rows are claimed, published without waiting for each other, and marked only when
//! the broker has said that it stored them; whatever goes wrong in between is published again under the same
//! message id, which the broker's duplicate window and the consumers' inboxes recognise.
//!
//! Rows stay after publishing, so that a broker that lost what it had stored can be refilled (`compare.rs`).
//! There is no `NOTIFY` (it serialises commits) and no cursor over ids (it skips rows that commit late).

// The one place where events are published.
#![allow(clippy::disallowed_methods)]

mod compare;
mod place;
mod rows;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use sqlx::{PgConnection, PgPool};
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::place::Place;
use self::rows::{BATCH, Queue, Row, Stored};
use self::session::Session;
use crate::span::{KeyValue, Span, SpanKind};
use crate::streams::{self, SetupError};
use crate::{Settings, TraceContext, backoff, failpoint, figures, outbox};

/// How long a row may wait when nobody said that it was written (another instance wrote it).
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A round costs the same for one row as for many, so in a busy moment some are let come together.
const GATHER: Duration = Duration::from_millis(10);
/// Longer is "unknown": publish again.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// For one round, database and broker together. One that takes longer has lost its connection.
const ROUND_LIMIT: Duration = Duration::from_secs(9);
/// A round claims no more after this: a slow broker must not let it come near its limit.
const CLAIM_FOR: Duration = Duration::from_millis(500);
/// Letters that the broker has refused are left alone for so long.
const LETTERS_AGAIN: Duration = Duration::from_secs(2);

pub struct Relay {
    pub pool: PgPool,
    pub jetstream: Context,
    /// The service's name, for `ce-source` and for the streams it uses.
    pub source: String,
    pub outbox_written: Arc<Notify>,
    pub settings: Settings,
    pub stop: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("{failed} events were not stored by the broker, first: {first}")]
    NotStored { failed: usize, first: String },
    #[error("{0}")]
    Streams(#[from] SetupError),
    #[error("no answer within {ROUND_LIMIT:?}")]
    Stalled,
    #[error("the connection was made anew meanwhile, perhaps to a broker that has lost something")]
    Reconnected,
}

/// What a relay remembers between two rounds.
#[derive(Default)]
struct Memory {
    /// The one of the last round, unless that failed.
    session: Option<Session>,
    /// The connection, and the moment, of the last comparison with the broker.
    compared: Option<(u64, Instant)>,
    /// The last sequence this relay has seen in each stream.
    highest: HashMap<&'static str, i64>,
    place: Place,
    /// When letters were refused.
    letters_refused: Option<Instant>,
}

/// What became of one claim.
#[derive(Default)]
struct Sent {
    stored: Vec<Stored>,
    failed: usize,
    first_error: Option<String>,
}

impl Relay {
    /// Runs until told to stop; finishes the batch it has in hand. An error means that a stream exists with
    /// a definition that contradicts ours.
    pub async fn run(&self) -> Result<(), SetupError> {
        figures::relay_starts();
        self.declare_streams().await?;
        let mut memory = Memory::default();
        let (mut failures, mut is_told) = (0, false);
        while !self.stop.is_cancelled() {
            match self.round(&mut memory, is_told).await {
                Ok(full) => {
                    failures = 0;
                    is_told = full || {
                        self.rest(GATHER, false).await;
                        self.rest(LOOK_EVERY, true).await
                    };
                }
                Err(RelayError::Streams(conflict @ SetupError::Conflict(_))) => return Err(conflict),
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "the relay could not publish; the outbox keeps everything");
                    metrics::counter!("relay_failures_total").increment(1);
                    memory.compared = None;
                    let pause = backoff::delay(Duration::from_millis(100), Duration::from_secs(1), failures);
                    self.rest(pause, false).await;
                }
            }
        }
        Ok(())
    }

    /// `true` when it ended because rows were written.
    async fn rest(&self, pause: Duration, until_written: bool) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.outbox_written.notified(), if until_written => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    /// All it uses, so that they are there whichever service starts first.
    async fn declare_streams(&self) -> Result<(), SetupError> {
        for attempt in 1_u32.. {
            let declared = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                declared = streams::declare(&self.jetstream, &self.source, self.settings.streams) => declared,
            };
            match declared {
                Ok(()) => break,
                Err(conflict @ SetupError::Conflict(_)) => return Err(conflict),
                Err(SetupError::Broker(error)) => tracing::warn!(error, "cannot declare the streams yet"),
            }
            self.rest(self.settings.outage_delay(attempt), false).await;
        }
        Ok(())
    }

    /// Publishes some of what waits. `true` when there may be more.
    async fn round(&self, memory: &mut Memory, is_told: bool) -> Result<bool, RelayError> {
        // Dropped unless all goes well, so that another relay may have more luck.
        let session = memory.session.take();
        if self.jetstream.client().connection_state() != State::Connected {
            return Ok(false);
        }
        let work = async {
            let mut session = match session {
                Some(session) => session,
                None => Session::open(&self.pool).await?,
            };
            let full = match session.lead().await? {
                Some(db) => self.publish_waiting(db, memory, is_told).await?,
                None => false,
            };
            memory.session = Some(session);
            Ok(full)
        };
        timeout(ROUND_LIMIT, work).await.unwrap_or(Err(RelayError::Stalled))
    }

    async fn publish_waiting(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        is_told: bool,
    ) -> Result<bool, RelayError> {
        let (messages, letters) = match self.is_comparison_due(memory) {
            Some(depth) => self.compare(db, memory, depth).await.map(|()| (true, true))?,
            // Letters are looked for when there is no news, and after each comparison.
            None if is_told => (true, false),
            None => rows::is_any_waiting(db, memory.place.after()).await?,
        };
        if letters {
            self.publish_letters(db, memory).await?;
        }
        if messages { self.publish_some(db, memory, Queue::Messages).await } else { Ok(false) }
    }

    async fn publish_letters(&self, db: &mut PgConnection, memory: &mut Memory) -> Result<(), RelayError> {
        if memory.letters_refused.is_some_and(|at| at.elapsed() < LETTERS_AGAIN) {
            return Ok(());
        }
        memory.letters_refused = None;
        match self.publish_some(db, memory, Queue::Letters).await {
            Err(error @ RelayError::NotStored { .. }) => {
                tracing::warn!(%error, "dead letters wait in the outbox; is DLQ full?");
                metrics::counter!("relay_failures_total").increment(1);
                memory.letters_refused = Some(Instant::now());
                Ok(())
            }
            result => result.map(|_| ()),
        }
    }

    /// Claims rows and publishes them; while the broker stores one claim, the database marks the one before and
    /// gives out the next. No transaction is open meanwhile.
    async fn publish_some(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        queue: Queue,
    ) -> Result<bool, RelayError> {
        let (mut last, looked_back) = match queue {
            Queue::Messages => (memory.place.after(), std::mem::take(&mut memory.place.looks_back)),
            Queue::Letters => (0, false),
        };
        let mut claimed = rows::claim(db, queue, last).await?;
        let (mut published, mut is_full) = (Sent::default(), false);
        let started = Instant::now();
        while !claimed.is_empty() && published.first_error.is_none() {
            is_full = claimed.len() as i64 == BATCH;
            let goes_on = is_full && started.elapsed() < CLAIM_FOR;
            last = claimed.last().map_or(last, |row| row.id);
            failpoint::dies_at("relay-before-publish");
            let (now, next) = tokio::join!(self.publish(claimed), async {
                self.mark(db, memory, &published).await?;
                match goes_on {
                    true => Ok(rows::claim(db, queue, last).await?),
                    false => Ok::<_, RelayError>(Vec::new()),
                }
            });
            (published, claimed) = (now, next?);
        }
        failpoint::dies_at("relay-before-mark");
        self.mark(db, memory, &published).await?;
        failpoint::dies_at("relay-after-mark");
        match published.first_error {
            Some(first) => Err(RelayError::NotStored { failed: published.failed, first }),
            None => {
                if queue == Queue::Messages {
                    memory.place.published(looked_back, last);
                }
                Ok(is_full)
            }
        }
    }

    async fn mark(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        published: &Sent,
    ) -> Result<(), RelayError> {
        // Marked now, these rows would hide from the comparison that others before them are gone.
        if self.is_reconnected(memory) {
            return Err(RelayError::Reconnected);
        }
        let stored = &published.stored;
        if stored.is_empty() {
            return Ok(());
        }
        match compare::reused(&mut memory.highest, stored) {
            reused if reused.is_empty() => rows::mark(db, stored).await?,
            reused => {
                let mut tx = sqlx::Connection::begin(db).await?;
                rows::mark(&mut tx, stored).await?;
                compare::unmark_reused(&mut tx, &reused, stored).await?;
                tx.commit().await?;
                memory.place.looks_back = true;
            }
        }
        metrics::counter!("relay_published_total").increment(stored.len() as u64);
        Ok(())
    }

    /// Sends all rows, then collects the answers.
    async fn publish(&self, rows: Vec<Row>) -> Sent {
        let claimed = rows.len();
        let mut first_error = None;
        let mut in_flight: Vec<(Stored, PublishAckFuture, Span)> = Vec::with_capacity(rows.len());
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        for mut row in rows {
            let place = Stored::nowhere(&row);
            let subject = std::mem::take(&mut row.subject);
            let (message, span) = self.message(&subject, row);
            let send = self.jetstream.send_publish(subject, message);
            match timeout_at(deadline, send).await {
                Ok(Ok(answer)) => in_flight.push((place, answer, span)),
                Ok(Err(error)) => first_error = first_error.or(Some(error.to_string())),
                Err(_) => {
                    first_error = first_error.or(Some("sending timed out".into()));
                    break;
                }
            }
        }
        failpoint::dies_at("relay-before-answers");
        let mut stored = Vec::with_capacity(in_flight.len());
        for (place, answer, mut span) in in_flight {
            if failpoint::is_set("mutation-mark-first") {
                stored.push(place);
                continue;
            }
            match timeout_at(deadline, answer).await {
                Ok(Ok(ack)) => stored.push(place.answered(ack)),
                Ok(Err(error)) => {
                    span.fail(error.to_string());
                    first_error = first_error.or(Some(error.to_string()));
                }
                Err(_) => {
                    span.fail("no answer in time");
                    first_error = first_error.or(Some("no answer in time".into()));
                }
            }
        }
        Sent { failed: claimed - stored.len(), stored, first_error }
    }

    /// CloudEvents 1.0 in binary mode (<https://github.com/cloudevents/spec>), W3C trace context, and the
    /// id by which the broker recognises a repetition. A dead letter has the headers of its event instead.
    fn message(&self, subject: &str, row: Row) -> (PublishMessage, Span) {
        let mut headers = row.headers.as_deref().map(outbox::decode).unwrap_or_default();
        let said = match &row.headers {
            Some(_) => TraceContext::from_headers(Some(&headers)),
            None => TraceContext::from_parts(row.traceparent.as_deref(), row.tracestate.as_deref()),
        };
        let span = publish_span(subject, &row, &said);
        if row.headers.is_none() {
            headers.insert("ce-specversion", "1.0");
            headers.insert("ce-id", row.event_id.as_str());
            headers.insert("ce-type", row.event_type);
            headers.insert("ce-source", format!("/{}", self.source));
            headers.insert("ce-time", row.occurred_at.format(&Rfc3339).unwrap_or_default());
            let trace = span.context();
            headers.insert("traceparent", trace.traceparent.as_str());
            if let Some(tracestate) = &trace.tracestate {
                headers.insert("tracestate", tracestate.as_str());
            }
        }
        let message = PublishMessage::build().payload(row.body.into()).headers(headers);
        (message.message_id(row.event_id), span)
    }
}

fn publish_span(subject: &str, row: &Row, under: &TraceContext) -> Span {
    // Without the partition, which would make eight names of one.
    let template = subject.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.');
    Span::start(format!("publish {template}"), SpanKind::Producer, under, || {
        [
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", subject.to_owned()),
            KeyValue::new("messaging.destination.template", template.to_owned()),
            KeyValue::new("messaging.message.id", row.event_id.clone()),
            KeyValue::new("messaging.message.body.size", row.body.len() as i64),
        ]
    })
}
