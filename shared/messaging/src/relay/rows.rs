//! The outbox as the relay sees it: what waits, where the broker stored the rest, and what waits again because the
//! broker turned out to have lost it.

use async_nats::jetstream::publish::PublishAck;
use events::topology::DLQ;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use time::OffsetDateTime;

/// Rows that wait again by one statement: some tenths of a second.
const UNMARKED_AT_ONCE: i64 = 10_000;

pub struct Row {
    pub id: i64,
    pub created_at: OffsetDateTime,
    pub event_id: String,
    pub event_type: String,
    pub subject: String,
    pub occurred_at: OffsetDateTime,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub headers: Option<Vec<u8>>,
    pub body: Vec<u8>,
}

/// By position, as `mark_and_claim` has them: a name would be looked up for each row.
impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> Result<Row, sqlx::Error> {
        Ok(Row {
            id: row.try_get(0)?,
            created_at: row.try_get(1)?,
            event_id: row.try_get(2)?,
            event_type: row.try_get(3)?,
            subject: row.try_get(4)?,
            occurred_at: row.try_get(5)?,
            traceparent: row.try_get(6)?,
            tracestate: row.try_get(7)?,
            headers: row.try_get(8)?,
            body: row.try_get(9)?,
        })
    }
}

/// A row the broker has stored, and where.
pub struct Stored {
    id: i64,
    created_at: OffsetDateTime,
    pub stream: String,
    pub sequence: i64,
    /// The broker knew it already; the place is the first one's.
    pub duplicate: bool,
}

impl Stored {
    pub fn nowhere(row: &Row) -> Stored {
        Stored {
            id: row.id,
            created_at: row.created_at,
            stream: String::new(),
            sequence: 0,
            duplicate: false,
        }
    }

    pub fn answered(self, ack: PublishAck) -> Stored {
        Stored { stream: ack.stream, sequence: ack.sequence as i64, duplicate: ack.duplicate, ..self }
    }
}

/// Dead letters wait apart: as long as a full `DLQ` refuses them, the rest goes on.
#[derive(Clone, Copy, PartialEq)]
pub enum Queue {
    Messages,
    Letters,
}

impl Queue {
    /// Rows per claim: enough to hide the round trips, and of letters, whose bodies others have written, no more than fit into
    /// memory if each is as large as it may be.
    pub fn batch(self) -> i64 {
        match self {
            Queue::Messages => 1_000,
            Queue::Letters => 4,
        }
    }
}

/// Whether messages with a higher id than `after` wait, and whether letters do.
pub async fn is_any_waiting(db: &mut PgConnection, after: i64) -> Result<(bool, bool), sqlx::Error> {
    let any = sqlx::query_as(
        "select exists (select from outbox_waiting where id > $1 and not is_letter),
                exists (select from outbox_waiting where is_letter)",
    );
    any.bind(after).fetch_one(db).await
}

macro_rules! mark_and_claim {
    ($which:literal) => {
        concat!(
            "with done as (
                 delete from outbox_waiting where id = any($3)
             ), noted as (
                 insert into outbox_stored (id, created_at, stream, sequence)
                 select * from unnest($3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[])
             )
             select id, created_at, event_id, event_type, subject, occurred_at, traceparent, tracestate, headers, body
             from (select id, created_at from outbox_waiting where id > $1 and id <> all($7) and ",
            $which,
            " order by id limit $2) as waiting join outbox using (id, created_at)
             order by id"
        )
    };
}

/// Where rows were stored: these wait no more. And the oldest rows that wait, of those with a higher id than `after`. Only the
/// leader touches them, so they are not locked.
pub async fn mark_and_claim(
    db: &mut PgConnection,
    stored: &[Stored],
    queue: Queue,
    after: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    // The statement still sees these waiting. Postgres compares each row with each of them, so only those it can meet are sent:
    // none, unless it looks back.
    let met_again: Vec<i64> = stored.iter().map(|row| row.id).filter(|id| *id > after).collect();
    let statement = match queue {
        Queue::Messages => mark_and_claim!("not is_letter"),
        Queue::Letters => mark_and_claim!("is_letter"),
    };
    sqlx::query_as(statement)
        .bind(after)
        .bind(queue.batch())
        .bind(stored.iter().map(|row| row.id).collect::<Vec<_>>())
        .bind(stored.iter().map(|row| row.created_at).collect::<Vec<_>>())
        .bind(stored.iter().map(|row| row.stream.as_str()).collect::<Vec<_>>())
        .bind(stored.iter().map(|row| row.sequence).collect::<Vec<_>>())
        .bind(met_again)
        .fetch_all(db)
        .await
}

macro_rules! unmark {
    ($which:literal) => {
        concat!(
            "with lost as (
                 delete from outbox_stored where stream = $1 and ",
            $which,
            " returning id, created_at
             )
             insert into outbox_waiting (id, created_at, is_letter)
             select id, created_at, $2 from lost on conflict do nothing"
        )
    };
}

/// What was stored in the stream at `from` or later waits again. Returns how many.
///
/// From the last backwards, in portions: days of events take longer than a round or a statement may, so each portion is
/// committed alone, and whoever goes on after this was cut short finds the rest.
pub async fn unmark_since(db: &mut PgConnection, stream: &str, from: i64) -> Result<u64, sqlx::Error> {
    let (mut unmarked, mut end) = (0, i64::MAX);
    while end > from {
        let begin: Option<i64> = sqlx::query_scalar(
            "select sequence from outbox_stored where stream = $1 and sequence >= $2 and sequence < $3
             order by sequence desc offset $4 limit 1",
        )
        .bind(stream)
        .bind(from)
        .bind(end)
        .bind(UNMARKED_AT_ONCE - 1)
        .fetch_optional(&mut *db)
        .await?;
        let begin = begin.unwrap_or(from);
        let portion = sqlx::query(unmark!("sequence >= $3 and sequence < $4"));
        let portion = portion.bind(stream).bind(stream == DLQ.name).bind(begin).bind(end);
        unmarked += portion.execute(&mut *db).await?.rows_affected();
        end = begin;
    }
    Ok(unmarked)
}

/// What was stored in the stream at these places waits again.
pub async fn unmark(db: &mut PgConnection, stream: &str, sequences: &[i64]) -> Result<u64, sqlx::Error> {
    let unmarked = sqlx::query(unmark!("sequence = any($3)"));
    let unmarked = unmarked.bind(stream).bind(stream == DLQ.name).bind(sequences);
    Ok(unmarked.execute(db).await?.rows_affected())
}

/// The row of ours that was stored in the stream before the `newer` last ones: its event, and its place.
pub async fn stored(
    db: &mut PgConnection,
    stream: &str,
    newer: i64,
) -> Result<Option<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select event_id, sequence
         from (select id, created_at, sequence from outbox_stored
               where stream = $1 order by sequence desc offset $2 limit 1) as newest
              join outbox using (id, created_at)",
    )
    .bind(stream)
    .bind(newer)
    .fetch_optional(db)
    .await
}

/// The subjects of our rows in the stream.
pub async fn subjects(db: &mut PgConnection, stream: &str) -> Result<Vec<String>, sqlx::Error> {
    let subjects = sqlx::query_scalar(
        "select distinct subject from outbox_stored join outbox using (id, created_at) where stream = $1",
    );
    subjects.bind(stream).fetch_all(db).await
}

/// Where our rows of one subject were stored after the place `sequence`.
pub async fn stored_after(
    db: &mut PgConnection,
    stream: &str,
    subject: &str,
    sequence: u64,
) -> Result<Vec<i64>, sqlx::Error> {
    let rows = sqlx::query_scalar(
        "select sequence from outbox_stored join outbox using (id, created_at)
         where stream = $1 and sequence > $3 and subject = $2",
    );
    rows.bind(stream).bind(subject).bind(sequence as i64).fetch_all(db).await
}

/// When the stream was created that was published to so far, in the broker's words.
pub async fn remembered(db: &mut PgConnection, stream: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select created from relay_streams where stream = $1")
        .bind(stream)
        .fetch_optional(db)
        .await
}

pub async fn remember(db: &mut PgConnection, stream: &str, created: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into relay_streams (stream, created) values ($1, $2)
         on conflict (stream) do update set created = excluded.created",
    )
    .bind(stream)
    .bind(created)
    .execute(db)
    .await?;
    Ok(())
}
