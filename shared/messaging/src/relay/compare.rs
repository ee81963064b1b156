//! Refills a broker that lost what it had stored: its last seconds when a machine crashed before the disk
//! had them, everything when a disk or a stream was lost. After every reconnect, and every few seconds, the
//! relay compares the streams with what its rows say was stored there, and unmarks the rows that are gone;
//! they are then published again like any others.
//!
//! What a broker loses is a tail: below some sequence everything is there, above it nothing of what was. Too
//! many rows unmarked do no harm, for consumers recognise what they have seen.

use std::cmp::max;
use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use events::topology::{STREAMS, StreamSpec};
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::rows::{self, Stored};
use super::{Memory, Relay, RelayError};
use crate::failpoint;
use crate::streams::{self, SetupError};

const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// The broker forgets a consumer that was made for one look.
const LOOK_FOR: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq)]
pub enum Depth {
    /// Is it the same stream, and does it still reach as far? One request for each stream.
    Glance,
    /// And are our newest messages where they were stored? Others may have filled the gap.
    Search,
}

impl Relay {
    /// A new connection may lead to a broker that was restarted.
    pub(super) fn is_comparison_due(&self, memory: &Memory) -> Option<Depth> {
        match memory.compared {
            Some((connection, _)) if connection != self.connection() => Some(Depth::Search),
            Some((_, at)) => (at.elapsed() > COMPARE_EVERY).then_some(Depth::Glance),
            None => Some(Depth::Search),
        }
    }

    /// Whether the answers of the last batch may come from a broker that was not compared yet.
    pub(super) fn is_reconnected(&self, memory: &Memory) -> bool {
        memory.compared.is_none_or(|(connection, _)| connection != self.connection())
    }

    /// Counts the connections made so far.
    fn connection(&self) -> u64 {
        self.jetstream.client().statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) async fn compare(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        depth: Depth,
    ) -> Result<(), RelayError> {
        match depth {
            Depth::Glance => self.mark(db, memory).await?,
            // Another broker may have said that.
            Depth::Search => memory.unmarked.clear(),
        }
        let compared = (self.connection(), Instant::now());
        for spec in streams::used_by(&self.source) {
            let stream = streams::ensure_stream(&self.jetstream, spec, self.settings.streams).await?;
            let lost = match failpoint::is_set("mutation-no-reconciler") {
                true => 0,
                false => unmark_lost(db, memory, spec, &stream, depth).await?,
            };
            if lost > 0 {
                tracing::error!(
                    stream = spec.name,
                    events = lost,
                    "the broker has lost what it had stored; publishing it again from the outbox"
                );
                metrics::counter!("relay_refilled_total", "stream" => spec.name).increment(lost);
            }
            memory.highest.insert(spec.name, stream.cached_info().state.last_sequence as i64);
        }
        memory.compared = Some(compared);
        memory.place.looks_back = true;
        Ok(())
    }

    /// The broker numbers on from the last message it has. A number it gives twice says that it has lost everything from
    /// there, though the rows say otherwise: what had these numbers before, and all after it, waits again.
    pub(super) async fn unmark_reused(
        &self,
        db: &mut PgConnection,
        memory: &mut Memory,
        stored: &[Stored],
    ) -> Result<(), RelayError> {
        for (stream, from) in reused(&mut memory.highest, stored) {
            let lost = rows::unmark_since(db, stream, from).await?;
            tracing::error!(
                stream,
                from,
                events = lost,
                "the broker numbers from an earlier place: what it had stored is published again"
            );
            metrics::counter!("relay_refilled_total", "stream" => stream).increment(lost);
            memory.place.looks_back = true;
        }
        Ok(())
    }
}

/// The first number of each stream that the broker gave twice.
fn reused(highest: &mut HashMap<&'static str, i64>, stored: &[Stored]) -> Vec<(&'static str, i64)> {
    let mut reused = Vec::new();
    for spec in STREAMS {
        let new = |row: &&Stored| row.stream == spec.name && !row.duplicate;
        let numbers = || stored.iter().filter(new).map(|row| row.sequence);
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { continue };
        let seen = highest.entry(spec.name).or_default();
        if first <= *seen && !failpoint::is_set("mutation-no-reconciler") {
            reused.push((spec.name, first));
            *seen = last;
        }
        *seen = max(*seen, last);
    }
    reused
}

/// Returns how many rows have to be published again.
async fn unmark_lost(
    db: &mut PgConnection,
    memory: &Memory,
    spec: &StreamSpec,
    stream: &Stream,
    depth: Depth,
) -> Result<u64, RelayError> {
    let info = stream.cached_info();
    let created = info.created.format(&Rfc3339).unwrap_or_default();
    let remembered = rows::remembered(db, spec.name).await?;
    if remembered.as_ref() != Some(&created) {
        // In this order: whoever dies in between leaves it to the next comparison.
        let lost = match &remembered {
            Some(_) => rows::unmark_since(db, spec.name, 0).await?,
            None => 0,
        };
        rows::remember(db, spec.name, &created).await?;
        if remembered.is_some() {
            return Ok(lost);
        }
    }
    let last = info.state.last_sequence as i64;
    let mut lost = 0;
    if depth == Depth::Search || memory.highest.get(spec.name).is_some_and(|highest| *highest > last) {
        lost += rows::unmark_since(db, spec.name, last + 1).await?;
    }
    if depth == Depth::Search {
        lost += match spec.is_heard() {
            true => unmark_replaced(db, spec, stream).await?,
            false => unmark_unseen(db, spec, stream).await?,
        };
    }
    Ok(lost)
}

/// Goes back from what we stored last, further each time, until a message is in its place.
async fn unmark_replaced(
    db: &mut PgConnection,
    spec: &StreamSpec,
    stream: &Stream,
) -> Result<u64, RelayError> {
    let (mut back, mut intact) = (0, 0);
    while let Some((event, sequence)) = rows::stored(db, spec.name, back).await? {
        if is_in_place(spec, stream, &event, sequence).await? {
            intact = sequence;
            break;
        }
        back = back * 2 + 1;
    }
    match back {
        0 => Ok(0),
        _ => Ok(rows::unmark_since(db, spec.name, intact + 1).await?),
    }
}

async fn is_in_place(
    spec: &StreamSpec,
    stream: &Stream,
    event: &str,
    sequence: i64,
) -> Result<bool, RelayError> {
    let first = stream.cached_info().state.first_sequence as i64;
    if sequence < first {
        return Ok(true);
    }
    match stream.get_raw_message(sequence as u64).await {
        Ok(message) => {
            let id = message.headers.get("Nats-Msg-Id").map(|id| id.as_str());
            Ok(id == Some(event))
        }
        // Finished tasks and letters that were dealt with are gone for good reason.
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(!spec.is_log()),
        Err(error) => Err(SetupError::broker(error).into()),
    }
}

/// In a stream that no service may read a row is not looked for where it was stored. What a broker lost is a
/// tail, so it is enough to know the last message of each of our own subjects: our rows that were stored later
/// are lost, unless the broker says that they were removed.
async fn unmark_unseen(db: &mut PgConnection, spec: &StreamSpec, stream: &Stream) -> Result<u64, RelayError> {
    let mut lost = 0;
    for subject in rows::subjects(db, spec.name).await? {
        let last = last_on(stream, &subject).await?;
        let mut later = rows::stored_after(db, spec.name, &subject, last).await?;
        if later.is_empty() {
            continue;
        }
        let info = stream.info_builder().with_deleted(true).fetch().await.map_err(SetupError::broker)?.info;
        let removed = info.state.deleted.unwrap_or_default();
        later
            .retain(|&place| place as u64 >= info.state.first_sequence && !removed.contains(&(place as u64)));
        lost += rows::unmark(db, spec.name, &later).await?;
    }
    Ok(lost)
}

/// The number of the last message on a subject, 0 if there is none. Asked by a consumer that is never read: the
/// broker holds its filter to the subject of this request, for which a service has permission, while a request
/// for a message by its number would be one for any message.
async fn last_on(stream: &Stream, subject: &str) -> Result<u64, RelayError> {
    let look = pull::Config {
        name: Some(format!("look-{}", uuid::Uuid::new_v4().simple())),
        filter_subject: subject.to_owned(),
        deliver_policy: DeliverPolicy::Last,
        ack_policy: AckPolicy::None,
        inactive_threshold: LOOK_FOR,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let look = stream.create_consumer(look).await.map_err(SetupError::broker)?;
    let info = look.cached_info();
    // It stands before the message it would deliver first.
    Ok(if info.num_pending == 0 { 0 } else { info.delivered.stream_sequence + 1 })
}
