//! All SQL of the audit: only the columns that are compared, each table in one statement.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::types::Json;

use super::order::{Order, Orders, Status};
use super::orders::Timelines;
use super::stream::EventKey;

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Charge {
    pub charge_id: String,
    pub reference: String,
    pub amount_cents: i64,
    pub refunded_cents: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Stock {
    pub sku: String,
    pub initial: i64,
    pub available: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Reservation {
    pub order_id: String,
    pub state: String,
    #[sqlx(json)]
    pub lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
}

impl Reservation {
    pub fn is_live(&self) -> bool {
        self.state == "reserved"
    }
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Award {
    pub order_id: String,
    pub customer_id: String,
    pub points: i64,
    pub state: String,
}

impl Award {
    /// Points that count.
    pub fn held(&self) -> i64 {
        if self.state == "awarded" { self.points } else { 0 }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub struct Balance {
    pub customer_id: String,
    pub points: i64,
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct FactRow {
    pub order_id: String,
    pub total_cents: Option<i64>,
    /// JSON, read only where it is needed.
    pub items: Option<String>,
    pub confirmed: bool,
    pub cancelled: bool,
    pub captured_cents: i64,
    pub refunded_cents: i64,
    pub is_ready: bool,
    /// From its creation; of an order of which both are known.
    pub micros_to_ready: Option<i64>,
}

#[derive(Debug, Default, sqlx::FromRow)]
pub struct Totals {
    pub orders: i64,
    pub confirmed: i64,
    pub cancelled: i64,
    pub ready: i64,
    pub gross_cents: i64,
    pub captured_cents: i64,
    pub refunded_cents: i64,
    pub timed: i64,
    pub micros_to_ready: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub struct ItemTotal {
    pub name: String,
    pub quantity: i64,
    pub cents: i64,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Mail {
    pub order_id: String,
    pub copies: i32,
}

#[derive(Debug, sqlx::FromRow)]
pub struct Attempt {
    pub consumer: String,
    pub event_id: String,
    pub attempts: i32,
}

#[derive(sqlx::FromRow)]
struct OrderRow {
    order_id: String,
    customer_id: String,
    items: Json<Vec<events::Item>>,
    total_cents: i64,
    status: String,
    in_outbox: bool,
}

pub async fn orders(order_api: &PgPool) -> Result<Orders> {
    // Outbox rows are removed three days after they were published; the hour is for the reading.
    let mut rows = sqlx::query_as::<_, OrderRow>(
        "select order_id, customer_id, items, total_cents, status,
                created_at > now() - interval '2 days 23 hours' as in_outbox from orders",
    )
    .fetch(order_api);
    let mut orders = Orders::new();
    while let Some(row) = rows.try_next().await? {
        let status = Status::parse(&row.status)
            .with_context(|| format!("order {} has the unknown status {:?}", row.order_id, row.status))?;
        let order = Order {
            customer: row.customer_id,
            items: row.items.0,
            total_cents: row.total_cents,
            status,
            in_outbox: row.in_outbox,
        };
        orders.insert(row.order_id, order);
    }
    Ok(orders)
}

pub async fn idempotency_keys(order_api: &PgPool) -> Result<Vec<(String, String)>> {
    let keys = sqlx::query_as("select key, order_id from idempotency_keys order by key");
    Ok(keys.fetch_all(order_api).await?)
}

/// Rows that say an order was created, by order.
pub async fn created_in_outbox(order_api: &PgPool) -> Result<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select order_id, count(*) from outbox where event_type = 'OrderCreated' group by order_id",
    )
    .fetch_all(order_api)
    .await?;
    Ok(rows.into_iter().collect())
}

pub async fn timelines(order_api: &PgPool, timelines: &mut Timelines<'_>) -> Result<()> {
    let mut rows = sqlx::query_as::<_, (String, i64, String)>(
        "select order_id, version, status from order_timeline order by order_id, version",
    )
    .fetch(order_api);
    while let Some((order, version, status)) = rows.try_next().await? {
        timelines.row(&order, version, &status);
    }
    Ok(())
}

pub async fn charges(card_processor: &PgPool) -> Result<Vec<Charge>> {
    let charges = sqlx::query_as(
        "select charge_id, reference, amount_cents, refunded_cents from charges where status = 'captured'",
    );
    Ok(charges.fetch_all(card_processor).await?)
}

pub async fn stock(inventory: &PgPool) -> Result<Vec<Stock>> {
    Ok(sqlx::query_as("select sku, initial, available from stock order by sku").fetch_all(inventory).await?)
}

pub async fn reservations(inventory: &PgPool) -> Result<Vec<Reservation>> {
    Ok(sqlx::query_as("select order_id, state, lines from reservations").fetch_all(inventory).await?)
}

pub async fn awards(loyalty: &PgPool) -> Result<Vec<Award>> {
    let awards = sqlx::query_as(
        "select order_id, coalesce(customer_id, '') as customer_id, coalesce(points, 0) as points, state
         from awards",
    );
    Ok(awards.fetch_all(loyalty).await?)
}

pub async fn balances(loyalty: &PgPool) -> Result<Vec<Balance>> {
    Ok(sqlx::query_as("select customer_id, points from balances").fetch_all(loyalty).await?)
}

pub async fn facts(analytics: &PgPool) -> Result<Vec<FactRow>> {
    let facts = sqlx::query_as(
        "select order_id, total_cents, items::text as items, confirmed, cancelled, captured_cents,
                refunded_cents, ready_at is not null as is_ready,
                (extract(epoch from ready_at - created_at) * 1000000)::bigint as micros_to_ready
         from order_facts",
    );
    Ok(facts.fetch_all(analytics).await?)
}

/// Without a row nothing was counted yet.
pub async fn totals(analytics: &PgPool) -> Result<Totals> {
    let totals = sqlx::query_as(
        "select orders, confirmed, cancelled, ready, gross_cents, captured_cents, refunded_cents, timed,
                micros_to_ready::bigint as micros_to_ready
         from totals where id = 1",
    );
    Ok(totals.fetch_optional(analytics).await?.unwrap_or_default())
}

pub async fn item_totals(analytics: &PgPool) -> Result<Vec<ItemTotal>> {
    let totals = sqlx::query_as("select name, quantity, cents from item_totals order by name");
    Ok(totals.fetch_all(analytics).await?)
}

pub async fn tickets(kitchen_display: &PgPool) -> Result<HashMap<String, String>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select order_id, state from tickets").fetch_all(kitchen_display).await?;
    Ok(rows.into_iter().collect())
}

/// Those that confirm an order.
pub async fn confirmations(email: &PgPool) -> Result<Vec<Mail>> {
    let mails = sqlx::query_as("select order_id, copies from mails where kind = 'received'");
    Ok(mails.fetch_all(email).await?)
}

/// Of what is not done. After a replay, what failed before may be done at once, and its note is left.
pub async fn attempts(pool: &PgPool) -> Result<Vec<Attempt>> {
    let attempts = sqlx::query_as(
        "select consumer, event_id, attempts from attempts
         where not exists (select from inbox where (inbox.consumer, inbox.event_id)
                                                   = (attempts.consumer, attempts.event_id))",
    );
    Ok(attempts.fetch_all(pool).await?)
}

pub async fn inbox(pool: &PgPool, consumer: &str) -> Result<HashSet<EventKey>> {
    let mut rows = sqlx::query_scalar::<_, String>("select event_id from inbox where consumer = $1")
        .bind(consumer)
        .fetch(pool);
    let mut events = HashSet::new();
    while let Some(id) = rows.try_next().await? {
        events.insert(EventKey::of(&id));
    }
    Ok(events)
}

pub async fn count_received(order_api: &PgPool) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from orders where status = 'received'")
        .fetch_one(order_api)
        .await?)
}

pub async fn received_orders(order_api: &PgPool) -> Result<HashSet<String>> {
    let received = sqlx::query_scalar("select order_id from orders where status = 'received'");
    Ok(received.fetch_all(order_api).await?.into_iter().collect())
}

/// Payments for which a call to the card processor is due.
pub async fn payments_under_way(payment: &PgPool) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from payments where state in ('due', 'cancelling', 'refund_due')",
    );
    Ok(count.fetch_one(payment).await?)
}
