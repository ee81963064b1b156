//! The outbox as the relay sees it: claimed, marked as published, and forgotten to be published when the
//! broker turns out to have lost it.

use async_nats::jetstream::publish::PublishAck;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

/// Rows per claim: enough to hide the round trips.
pub const BATCH: i64 = 1_000;
/// Claims per transaction, at most: bounds what a crash repeats.
pub const CLAIMS: i64 = 8;
/// Advisory lock of the relay at work. One at a time in each database, so that an order's events leave in
/// the order in which they were written.
const LEADER: i64 = 0x6f75_7462_6f78;

#[derive(sqlx::FromRow)]
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

/// A row the broker has stored, and where.
pub struct Stored {
    pub id: i64,
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

pub async fn is_any_waiting(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from outbox where published_at is null)").fetch_one(pool).await
}

/// Whether this relay leads until the transaction ends. A leader that was paused loses its transaction, and
/// with it the lead, before a successor has waited for long. The commit does not wait for the disk: marks that a
/// crash of the database takes back are rows published again, and known by their ids. Without sorting, a claim walks
/// the small index in its order; a plan that sorts reads the whole backlog for each claim.
pub async fn lead(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (leads, ..): (bool, String, String, String) = sqlx::query_as(
        "select pg_try_advisory_xact_lock($1), set_config('idle_in_transaction_session_timeout', '8s', true),
                set_config('synchronous_commit', 'off', true), set_config('enable_sort', 'off', true)",
    )
    .bind(LEADER)
    .fetch_one(tx)
    .await?;
    Ok(leads)
}

/// As above, once whoever leads now has finished its batch.
pub async fn lead_next(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LEADER).execute(tx).await?;
    Ok(())
}

/// The oldest unpublished rows but the first `in_flight`, locked. Those are on their way; if a row with a lower id has
/// committed meanwhile, one of them is claimed twice, and the broker recognises it. (A condition on the id would do
/// without that, but for it Postgres takes the index of all rows instead of the small one of the unpublished.)
pub async fn claim(tx: &mut PgConnection, in_flight: usize) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(
        "select id, created_at, event_id, event_type, subject, occurred_at, traceparent, tracestate, headers,
                body
         from outbox where published_at is null order by id limit $1 offset $2 for update skip locked",
    )
    .bind(BATCH)
    .bind(in_flight as i64)
    .fetch_all(tx)
    .await
}

pub async fn mark(tx: &mut PgConnection, stored: &[Stored]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update outbox set published_at = now(), stream_sequence = stored.sequence
         from unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) as stored (id, created_at, sequence)
         where outbox.id = stored.id and outbox.created_at = stored.created_at",
    )
    .bind(stored.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(stored.iter().map(|row| row.created_at).collect::<Vec<_>>())
    .bind(stored.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Published rows whose subject begins with `prefix` are to be published again: those stored at `from` or
/// later, but for the ones just stored.
pub async fn unmark_stored_since(
    tx: &mut PgConnection,
    prefix: &str,
    from: i64,
    but: &[i64],
) -> Result<u64, sqlx::Error> {
    let unmarked = sqlx::query(
        "update outbox set published_at = null, stream_sequence = null
         where published_at is not null and starts_with(subject, $1) and stream_sequence >= $2
               and not id = any($3)",
    );
    Ok(unmarked.bind(prefix).bind(from).bind(but).execute(tx).await?.rows_affected())
}

/// As above: those written after the row `id`.
pub async fn unmark_written_after(tx: &mut PgConnection, prefix: &str, id: i64) -> Result<u64, sqlx::Error> {
    let unmarked = sqlx::query(
        "update outbox set published_at = null, stream_sequence = null
         where published_at is not null and starts_with(subject, $1) and id > $2",
    );
    Ok(unmarked.bind(prefix).bind(id).execute(tx).await?.rows_affected())
}

#[derive(sqlx::FromRow)]
pub struct Published {
    pub id: i64,
    pub event_id: String,
    pub stream_sequence: i64,
}

/// The published row that `newer` others were written after.
pub async fn published(
    tx: &mut PgConnection,
    prefix: &str,
    newer: i64,
) -> Result<Option<Published>, sqlx::Error> {
    sqlx::query_as(
        "select id, event_id, stream_sequence from outbox
         where published_at is not null and starts_with(subject, $1) order by id desc offset $2 limit 1",
    )
    .bind(prefix)
    .bind(newer)
    .fetch_optional(tx)
    .await
}

/// The subjects of published rows that begin with `prefix`.
pub async fn subjects(tx: &mut PgConnection, prefix: &str) -> Result<Vec<String>, sqlx::Error> {
    let subjects = sqlx::query_scalar(
        "select distinct subject from outbox where published_at is not null and starts_with(subject, $1)",
    );
    subjects.bind(prefix).fetch_all(tx).await
}

/// The published rows of one subject that were stored after the message `sequence`.
pub async fn stored_after(
    tx: &mut PgConnection,
    subject: &str,
    sequence: u64,
) -> Result<Vec<Published>, sqlx::Error> {
    let rows = sqlx::query_as(
        "select id, event_id, stream_sequence from outbox
         where published_at is not null and subject = $1 and stream_sequence > $2",
    );
    rows.bind(subject).bind(sequence as i64).fetch_all(tx).await
}

/// These rows are to be published again.
pub async fn unmark(tx: &mut PgConnection, ids: &[i64]) -> Result<u64, sqlx::Error> {
    let unmarked =
        sqlx::query("update outbox set published_at = null, stream_sequence = null where id = any($1)");
    Ok(unmarked.bind(ids).execute(tx).await?.rows_affected())
}

/// When the stream was created that was published to so far, in the broker's words.
pub async fn remembered(tx: &mut PgConnection, stream: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select created from relay_streams where stream = $1")
        .bind(stream)
        .fetch_optional(tx)
        .await
}

pub async fn remember(tx: &mut PgConnection, stream: &str, created: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into relay_streams (stream, created) values ($1, $2)
         on conflict (stream) do update set created = excluded.created",
    )
    .bind(stream)
    .bind(created)
    .execute(tx)
    .await?;
    Ok(())
}
