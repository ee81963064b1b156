//! All SQL of the kitchen display. Events are stored many orders at a time; a bump locks its one row.

use std::collections::BTreeMap;

use events::Item;
use messaging::TraceContext;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row};

use crate::board::Snapshot;
use crate::domain::{Order, Ticket};

/// The tickets of those of these orders that have one, locked in the order of their ids.
pub async fn lock(
    db: &mut PgConnection,
    order_ids: &[&str],
) -> Result<BTreeMap<String, Ticket>, sqlx::Error> {
    let rows = sqlx::query("select * from tickets where order_id = any($1) order by order_id for update")
        .bind(order_ids)
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("order_id")?, read(row)?))).collect()
}

pub async fn lock_one(db: &mut PgConnection, order_id: &str) -> Result<Option<Ticket>, sqlx::Error> {
    let row = sqlx::query("select * from tickets where order_id = $1 for update")
        .bind(order_id)
        .fetch_optional(db)
        .await?;
    row.map(|row| read(&row)).transpose()
}

pub async fn find(pool: &PgPool, order_id: &str) -> Result<Option<Ticket>, sqlx::Error> {
    let row =
        sqlx::query("select * from tickets where order_id = $1").bind(order_id).fetch_optional(pool).await?;
    row.map(|row| read(&row)).transpose()
}

/// Writes tickets, sorted by order: over those `locked` by [`lock`], the others as new. `false` when somebody else has
/// written one of these meanwhile; that one is left as it is.
pub async fn save(
    db: &mut PgConnection,
    tickets: &BTreeMap<String, Ticket>,
    locked: &[String],
) -> Result<bool, sqlx::Error> {
    let orders = || tickets.values().map(|ticket| ticket.order.as_ref());
    let saved = sqlx::query(
        "insert into tickets as ticket (order_id, state, confirmed, cancelled, customer_id, items, placed_at,
                                        traceparent, tracestate, started_at, ready_at)
         select * from unnest($1::text[], $2::text[], $3::boolean[], $4::boolean[], $5::text[], $6::jsonb[],
                              $7::timestamptz[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[])
         on conflict (order_id) do update
             set state = excluded.state, confirmed = excluded.confirmed, cancelled = excluded.cancelled,
                 customer_id = excluded.customer_id, items = excluded.items, placed_at = excluded.placed_at,
                 traceparent = excluded.traceparent, tracestate = excluded.tracestate,
                 started_at = excluded.started_at, ready_at = excluded.ready_at
             where ticket.order_id in (select unnest($12::text[]))",
    )
    .bind(tickets.keys().map(String::as_str).collect::<Vec<_>>())
    .bind(tickets.values().map(|ticket| ticket.state().as_str()).collect::<Vec<_>>())
    .bind(tickets.values().map(|ticket| ticket.confirmed).collect::<Vec<_>>())
    .bind(tickets.values().map(|ticket| ticket.cancelled).collect::<Vec<_>>())
    .bind(orders().map(|order| order.map(|order| order.customer_id.as_str())).collect::<Vec<_>>())
    .bind(orders().map(|order| order.map(|order| Json(&order.items))).collect::<Vec<_>>())
    .bind(orders().map(|order| order.map(|order| order.placed_at)).collect::<Vec<_>>())
    .bind(orders().map(|order| order.map(|order| order.trace.traceparent.as_str())).collect::<Vec<_>>())
    .bind(orders().map(|order| order.and_then(|order| order.trace.tracestate.as_deref())).collect::<Vec<_>>())
    .bind(tickets.values().map(|ticket| ticket.started_at).collect::<Vec<_>>())
    .bind(tickets.values().map(|ticket| ticket.ready_at).collect::<Vec<_>>())
    .bind(locked)
    .execute(db)
    .await?;
    Ok(saved.rows_affected() == tickets.len() as u64)
}

fn read(row: &PgRow) -> Result<Ticket, sqlx::Error> {
    let customer_id: Option<String> = row.try_get("customer_id")?;
    let order = match customer_id.map(TryInto::try_into) {
        Some(customer_id) => Some(Order {
            customer_id: customer_id.map_err(|why: String| sqlx::Error::Decode(why.into()))?,
            items: row.try_get::<Json<Vec<Item>>, _>("items")?.0,
            placed_at: row.try_get("placed_at")?,
            trace: TraceContext::from_parts(row.try_get("traceparent")?, row.try_get("tracestate")?),
        }),
        None => None,
    };
    Ok(Ticket {
        order,
        confirmed: row.try_get("confirmed")?,
        cancelled: row.try_get("cancelled")?,
        started_at: row.try_get("started_at")?,
        ready_at: row.try_get("ready_at")?,
    })
}

/// The oldest live tickets, at most `limit`, and how many more there are, counted up to `count_up_to`: the
/// board must stay quick when the kitchen is far behind.
pub async fn board(pool: &PgPool, limit: i64, count_up_to: i64) -> Result<Snapshot, sqlx::Error> {
    let row = sqlx::query(
        "with live as (
             select order_id, state, customer_id, items, placed_at, started_at from tickets
             where state in ('waiting', 'started') order by placed_at, order_id limit $1),
         counted as (
             select from tickets where state in ('waiting', 'started') order by placed_at, order_id limit $1 + $2)
         select (select count(*) from counted) - (select count(*) from live) as more,
                coalesce((select json_agg(json_build_object(
                    'orderId', order_id, 'state', state, 'customerId', customer_id,
                    'items', (select json_agg(json_build_object('name', i->'name', 'quantity', i->'quantity'))
                              from jsonb_array_elements(items) i),
                    'placedAt', placed_at, 'startedAt', started_at) order by placed_at, order_id)
                from live), '[]') as tickets",
    )
    .bind(limit)
    .bind(count_up_to)
    .fetch_one(pool)
    .await?;
    let tickets: Json<Box<RawValue>> = row.try_get("tickets")?;
    Ok(Snapshot { tickets: tickets.0, more: row.try_get("more")? })
}

/// How much there is to make.
#[derive(sqlx::FromRow)]
pub struct Live {
    pub waiting: i64,
    pub started: i64,
    pub oldest_seconds: f64,
}

/// Tickets on the board, counted up to 10,000.
pub async fn live(pool: &PgPool) -> Result<Live, sqlx::Error> {
    sqlx::query_as(
        "select count(*) filter (where state = 'waiting') as waiting,
                count(*) filter (where state = 'started') as started,
                coalesce(extract(epoch from now() - min(placed_at)), 0)::float8 as oldest_seconds
         from (select state, placed_at from tickets where state in ('waiting', 'started')
               order by placed_at, order_id limit $1) as live",
    )
    .bind(10_000_i64)
    .fetch_one(pool)
    .await
}
