//! Taking orders: the order, its OrderCreated in the outbox and its idempotency key become durable together.

use std::collections::HashSet;
use std::time::Duration;

use events::Cents;
use messaging::outbox::Columns;
use sqlx::{PgConnection, PgExecutor};

use crate::placement::Placement;

/// Stores the orders in one statement and one commit, and returns the ids of those it stored. The others'
/// idempotency keys belong to earlier orders.
///
/// Keys are inserted in their order, so that two instances that share keys wait for each other instead of
/// deadlocking. No key may be there twice: Postgres refuses to touch a row twice in one statement.
pub async fn accept(
    db: &mut PgConnection,
    orders: &[&Placement],
    settle_within: Duration,
) -> Result<HashSet<String>, sqlx::Error> {
    let outbox = Columns::of(orders.iter().map(|order| &order.created));
    let claims = || orders.iter().map(|order| order.claim.as_ref());
    let stored: Vec<String> = sqlx::query_scalar(
        "with incoming as (
             select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                                  $7::bytea[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],
                                  $12::text[], $13::text[], $14::bytea[])
                 with ordinality as incoming (order_id, customer_id, email, items, total_cents, key,
                                              request_hash, event_id, event_type, subject, occurred_at,
                                              traceparent, tracestate, body, n)
         ), claimed as (
             insert into idempotency_keys as stored (key, request_hash, order_id)
             select key, request_hash, order_id from incoming
             where key is not null order by key collate \"C\"
             on conflict (key) do update
                 set request_hash = excluded.request_hash, order_id = excluded.order_id,
                     created_at = excluded.created_at
                 where stored.created_at < now() - interval '24 hours'
             returning order_id
         ), accepted as (
             select * from incoming where key is null or order_id in (select order_id from claimed)
         ), said as (
             insert into outbox (event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate,
                                 body, created_at)
             select event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body, now()
             from accepted order by n
             returning id, created_at
         ), waiting as (
             insert into outbox_waiting (id, created_at) select id, created_at from said
         )
         insert into orders (order_id, customer_id, email, items, total_cents, traceparent, deadline_at)
         select order_id, customer_id, email, items::jsonb, total_cents, traceparent,
                now() + $15 * interval '1 second'
         from accepted
         returning order_id",
    )
    .bind(outbox.order_ids)
    .bind(orders.iter().map(|order| order.customer.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.email.as_deref()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.items.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.total.0).collect::<Vec<_>>())
    .bind(claims().map(|claim| Some(claim?.key.as_str())).collect::<Vec<_>>())
    .bind(claims().map(|claim| Some(&claim?.fingerprint[..])).collect::<Vec<_>>())
    .bind(outbox.ids)
    .bind(outbox.kinds)
    .bind(outbox.subjects)
    .bind(outbox.times)
    .bind(outbox.traceparents)
    .bind(outbox.tracestates)
    .bind(outbox.bodies)
    .bind(settle_within.as_secs_f64())
    .fetch_all(db)
    .await?;
    Ok(stored.into_iter().collect())
}

/// Which of these orders are stored: the answer to a commit whose answer was lost.
pub async fn stored_among(db: &mut PgConnection, order_ids: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let stored: Vec<String> = sqlx::query_scalar("select order_id from orders where order_id = any($1)")
        .bind(order_ids)
        .fetch_all(db)
        .await?;
    Ok(stored.into_iter().collect())
}

/// Whether storing an order failed because that very order is stored already.
pub fn is_order_stored(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some("orders_pkey")
}

/// The order that an idempotency key stands for.
pub struct Replay {
    pub request_hash: Vec<u8>,
    pub order_id: String,
    pub traceparent: String,
    pub total: Cents,
}

pub async fn replay(db: impl PgExecutor<'_>, key: &str) -> Result<Option<Replay>, sqlx::Error> {
    let row: Option<(Vec<u8>, String, String, i64)> = sqlx::query_as(
        "select request_hash, order_id, traceparent, total_cents
         from idempotency_keys join orders using (order_id)
         where key = $1 and idempotency_keys.created_at >= now() - interval '24 hours'",
    )
    .bind(key)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|(request_hash, order_id, traceparent, total)| Replay {
        request_hash,
        order_id,
        traceparent,
        total: Cents(total),
    }))
}
