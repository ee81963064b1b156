//! The sending side of a state change: rows written in its transaction, published later by the
//! [relay](crate::relay). There is no way to publish an event without such a row, so no event is sent for a
//! change that was rolled back, and none is forgotten for one that was committed.

use std::time::Duration;

use async_nats::HeaderMap;
use events::{Event, topology};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::TraceContext;

/// A message to be sent when the transaction commits. The body is encoded once, here.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: String,
    pub kind: &'static str,
    pub order_id: String,
    pub subject: String,
    pub occurred_at: OffsetDateTime,
    pub trace: TraceContext,
    pub body: Vec<u8>,
}

impl Outgoing {
    /// `trace` is that of the request or event that caused it.
    pub fn event(event: &Event, trace: &TraceContext) -> Outgoing {
        Outgoing {
            id: event.id.to_string(),
            kind: event.event_type().as_str(),
            order_id: event.order_id().to_string(),
            subject: topology::subject(event.event_type(), event.order_id()),
            occurred_at: event.time,
            trace: trace.clone(),
            body: event.encode(),
        }
    }
}

/// The columns of many rows, ready to be bound as arrays: one statement however many rows there are.
#[derive(Default)]
pub struct Columns<'a> {
    pub ids: Vec<&'a str>,
    pub kinds: Vec<&'a str>,
    pub order_ids: Vec<&'a str>,
    pub subjects: Vec<&'a str>,
    pub times: Vec<OffsetDateTime>,
    pub traceparents: Vec<&'a str>,
    pub tracestates: Vec<Option<&'a str>>,
    pub bodies: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    pub fn of(rows: impl IntoIterator<Item = &'a Outgoing>) -> Columns<'a> {
        let mut columns = Columns::default();
        for row in rows {
            columns.ids.push(&row.id);
            columns.kinds.push(row.kind);
            columns.order_ids.push(&row.order_id);
            columns.subjects.push(&row.subject);
            columns.times.push(row.occurred_at);
            columns.traceparents.push(&row.trace.traceparent);
            columns.tracestates.push(row.trace.tracestate.as_deref());
            columns.bodies.push(&row.body);
        }
        columns
    }
}

/// Adds messages to the outbox, to be published in this order once `tx` commits. A row is written once and never changed;
/// that it waits is said beside it.
pub async fn append(tx: &mut PgConnection, messages: &[Outgoing]) -> Result<(), sqlx::Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(messages);
    sqlx::query(
        "with said as (
             insert into outbox (event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body,
                                 created_at)
             select *, now() from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[],
                                         $7::text[], $8::bytea[])
             returning id, created_at
         )
         insert into outbox_waiting (id, created_at) select id, created_at from said",
    )
    .bind(columns.ids)
    .bind(columns.kinds)
    .bind(columns.order_ids)
    .bind(columns.subjects)
    .bind(columns.times)
    .bind(columns.traceparents)
    .bind(columns.tracestates)
    .bind(columns.bodies)
    .execute(tx)
    .await?;
    Ok(())
}

/// How many rows wait to be published, counted up to 100,000, and how long the oldest of these has waited.
pub(crate) async fn waiting(pool: &PgPool) -> Result<(i64, Duration), sqlx::Error> {
    let (rows, age): (i64, f64) = sqlx::query_as(
        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8
         from (select created_at from outbox_waiting order by id limit $1) as waiting",
    )
    .bind(100_000_i64)
    .fetch_one(pool)
    .await?;
    Ok((rows, Duration::from_secs_f64(age.max(0.0))))
}

/// A dead letter on its way to the broker: an event's body and headers with some of our own.
pub(crate) struct Letter {
    /// By which the broker recognises it.
    pub id: String,
    pub subject: String,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

/// Adds the letter, unless the same one was added so recently that the broker would not store it twice.
pub(crate) async fn append_letter(tx: &mut PgConnection, letter: &Letter) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with said as (
             insert into outbox (event_id, event_type, order_id, subject, occurred_at, headers, body, created_at)
             select $1, 'DeadLetter', '', $2, now(), $3, $4, now()
             where not exists (select from outbox where event_type = 'DeadLetter' and event_id = $1
                                                        and created_at > now() - interval '2 minutes')
             returning id, created_at
         )
         insert into outbox_waiting (id, created_at, is_letter) select id, created_at, true from said",
    )
    .bind(&letter.id)
    .bind(&letter.subject)
    .bind(encode(&letter.headers))
    .bind(&letter.body[..])
    .execute(tx)
    .await?;
    Ok(())
}

fn encode(headers: &HeaderMap) -> Vec<u8> {
    let pairs: Vec<(&str, &str)> = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
        .collect();
    serde_json::to_vec(&pairs).expect("strings have a JSON form")
}

/// What [`append_letter`] stored.
pub(crate) fn decode(headers: &[u8]) -> HeaderMap {
    let pairs: Vec<(String, String)> = serde_json::from_slice(headers).unwrap_or_default();
    pairs.into_iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.append(name, value);
        headers
    })
}
