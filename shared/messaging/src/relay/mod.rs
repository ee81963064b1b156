//! Publishes the outbox. Rows are claimed, published without waiting for each other, and marked, together with the next
//! claim, only when the broker has said that it stored them; whatever goes wrong in between is published again under the same
//! message id, which the broker's duplicate window and the consumers' inboxes recognise.
//!
//! Rows stay after publishing, so that a broker that lost what it had stored can be refilled (`compare.rs`).
//! There is no `NOTIFY` (it serialises commits) and no cursor over ids (it skips rows that commit late).

mod compare;
mod place;
mod publish;
mod rows;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::place::Place;
use self::rows::{Queue, Row, Stored};
use self::session::Session;
use crate::streams::{self, SetupError};
use crate::{Settings, backoff, failpoint, figures};

/// How long a row may wait when nobody said that it was written (another instance wrote it).
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A round costs the same for one row as for many, so in a busy moment some are let come together.
const GATHER: Duration = Duration::from_millis(10);
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
    /// What the broker has stored and no row says yet.
    unmarked: Vec<Stored>,
    /// The connection, and the moment, of the last comparison with the broker.
    compared: Option<(u64, Instant)>,
    /// The last sequence this relay has seen in each stream.
    highest: HashMap<&'static str, i64>,
    place: Place,
    /// When letters were refused.
    letters_refused: Option<Instant>,
}

impl Relay {
    /// Runs until told to stop; finishes and marks the batch it has in hand. An error means that a stream exists with
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
                    memory.unmarked.clear();
                    let pause = backoff::delay(Duration::from_millis(100), Duration::from_secs(1), failures);
                    self.rest(pause, false).await;
                }
            }
        }
        if !memory.unmarked.is_empty()
            && let Err(error) =
                self.over_session(&mut memory, async |db, memory| self.mark(db, memory).await).await
        {
            tracing::warn!(%error, "some events will be published twice");
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
        let full = self.over_session(memory, async |db, memory| {
            let (messages, letters) = match self.is_comparison_due(memory) {
                Some(depth) => self.compare(db, memory, depth).await.map(|()| (true, true))?,
                // Letters are looked for when there is nothing else to do, and after each comparison.
                None if is_told || !memory.unmarked.is_empty() => (true, false),
                None => rows::is_any_waiting(db, memory.place.after()).await?,
            };
            if letters {
                self.publish_letters(db, memory).await?;
            }
            if messages { self.publish_some(db, memory, Queue::Messages).await } else { Ok(false) }
        });
        full.await.map(Option::unwrap_or_default)
    }

    /// `None` when the broker is away or another relay leads.
    async fn over_session<T>(
        &self,
        memory: &mut Memory,
        work: impl AsyncFnOnce(&mut PgConnection, &mut Memory) -> Result<T, RelayError>,
    ) -> Result<Option<T>, RelayError> {
        // Dropped unless all goes well, so that another relay may have more luck.
        let session = memory.session.take();
        if self.jetstream.client().connection_state() != State::Connected {
            return Ok(None);
        }
        let work = async {
            let mut session = match session {
                Some(session) => session,
                None => Session::open(&self.pool).await?,
            };
            let done = match session.lead().await? {
                Some(db) => Some(work(db, memory).await?),
                None => None,
            };
            memory.session = Some(session);
            Ok(done)
        };
        timeout(ROUND_LIMIT, work).await.unwrap_or(Err(RelayError::Stalled))
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
    /// gives out the next.
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
        let mut claimed = self.mark_and_claim(db, memory, queue, last).await?;
        let mut is_full = false;
        let started = Instant::now();
        while !claimed.is_empty() {
            is_full = claimed.len() as i64 == queue.batch();
            let goes_on = is_full && started.elapsed() < CLAIM_FOR;
            last = claimed.last().map_or(last, |row| row.id);
            failpoint::dies_at("relay-before-publish");
            let (sent, next) = tokio::join!(self.publish(claimed), async {
                match goes_on {
                    true => self.mark_and_claim(db, memory, queue, last).await,
                    false => Ok(Vec::new()),
                }
            });
            memory.unmarked.extend(sent.stored);
            if let Some(first) = sent.first_error {
                self.mark(db, memory).await?;
                return Err(RelayError::NotStored { failed: sent.failed, first });
            }
            claimed = next?;
        }
        if queue == Queue::Messages {
            memory.place.published(looked_back, last);
        }
        Ok(is_full)
    }

    async fn mark(&self, db: &mut PgConnection, memory: &mut Memory) -> Result<(), RelayError> {
        // There is no row after this one.
        self.mark_and_claim(db, memory, Queue::Messages, i64::MAX).await.map(drop)
    }

    /// Marks what the broker has stored, and claims the oldest rows after the one with the id `after`: one round trip.
    async fn mark_and_claim(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        queue: Queue,
        after: i64,
    ) -> Result<Vec<Row>, RelayError> {
        // Marked now, these rows would hide from the comparison that others before them are gone.
        if self.is_reconnected(memory) {
            return Err(RelayError::Reconnected);
        }
        let stored = std::mem::take(&mut memory.unmarked);
        if stored.is_empty() {
            return Ok(rows::mark_and_claim(db, &stored, queue, after).await?);
        }
        failpoint::dies_at("relay-before-mark");
        self.unmark_reused(db, memory, &stored).await?;
        let claimed = rows::mark_and_claim(db, &stored, queue, after).await?;
        failpoint::dies_at("relay-after-mark");
        metrics::counter!("relay_published_total").increment(stored.len() as u64);
        Ok(claimed)
    }
}
