//! All SQL that reads the shop's databases, as the operator.
//!
//! A row's own time is when its transaction began. Where Postgres keeps the times of commits
//! (`track_commit_timestamp`), the time of the commit is read instead, which is what is meant.

use sqlx::PgPool;

/// Rows that wait for the relay, at the price of two looks into the index: their ids lie close together.
pub async fn unpublished(order_api: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(id) - min(id) + 1, 0) from outbox_waiting")
        .fetch_one(order_api)
        .await
}

pub async fn charges_due(payment: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from payments where due_at is not null").fetch_one(payment).await
}

pub async fn orders_open(order_api: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from orders where status = 'received'").fetch_one(order_api).await
}

pub async fn orders_stored(order_api: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from orders").fetch_one(order_api).await
}

pub async fn knows_commit_times(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select current_setting('track_commit_timestamp')::boolean").fetch_one(pool).await
}

/// When each of the orders was confirmed or cancelled, in microseconds since 1970.
pub async fn settled(order_api: &PgPool, orders: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, (extract(epoch from case when current_setting('track_commit_timestamp')::boolean
                                                   then pg_xact_commit_timestamp(xmin) else at end)
                           * 1000000)::bigint
         from order_timeline where order_id = any($1) and what in ('OrderConfirmed', 'OrderCancelled')",
    )
    .bind(orders)
    .fetch_all(order_api)
    .await
}

/// The event that each of the orders began with: order, id of the event, place in the stream.
pub async fn created(
    order_api: &PgPool,
    orders: &[String],
) -> Result<Vec<(String, String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, event_id, sequence from outbox join outbox_stored using (id, created_at)
         where event_type = 'OrderCreated' and order_id = any($1)
               and created_at >= (select min(created_at) from orders where order_id = any($1))",
    )
    .bind(orders)
    .fetch_all(order_api)
    .await
}

/// When a consumer committed each of the events, in microseconds since 1970.
pub async fn processed(
    pool: &PgPool,
    consumer: &str,
    events: &[String],
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select event_id, (extract(epoch from case when current_setting('track_commit_timestamp')::boolean
                                                   then pg_xact_commit_timestamp(xmin) else processed_at end)
                           * 1000000)::bigint
         from inbox where consumer = $1 and event_id = any($2)",
    )
    .bind(consumer)
    .bind(events)
    .fetch_all(pool)
    .await
}

/// When the first mail about each of the orders was taken by the SMTP server, in microseconds since 1970.
pub async fn mailed(email: &PgPool, orders: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, (extract(epoch from sent_at) * 1000000)::bigint from mails
         where kind = 'received' and order_id = any($1)",
    )
    .bind(orders)
    .fetch_all(email)
    .await
}

/// When it was noted that the card of each of the orders was charged or declined, in microseconds since 1970.
pub async fn charged(payment: &PgPool, orders: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, (extract(epoch from case when current_setting('track_commit_timestamp')::boolean
                                                   then pg_xact_commit_timestamp(xmin) else created_at end)
                           * 1000000)::bigint
         from outbox where event_type in ('PaymentCaptured', 'PaymentDeclined') and order_id = any($1)
                           and created_at >= (select min(created_at) from payments where order_id = any($1))",
    )
    .bind(orders)
    .fetch_all(payment)
    .await
}

pub async fn setting(pool: &PgPool, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(pool).await
}
