//! All SQL of the accounting: each service's table in one statement, with the rights of the operator.

use std::collections::HashMap;
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions as _, FromRow, PgConnection};

use super::books::Books;

/// A line as the services store it. What was published by hand may leave out half of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Item {
    #[serde(default)]
    pub sku: String,
    #[serde(default = "one")]
    pub quantity: i64,
}

fn one() -> i64 {
    1
}

#[derive(Clone, Debug, FromRow)]
pub struct Order {
    pub order_id: String,
    pub customer_id: String,
    #[sqlx(json)]
    pub items: Vec<Item>,
    pub total_cents: i64,
    pub status: String,
    pub cancel_reason: Option<String>,
    pub payment: String,
    pub stock: String,
    pub trace_id: String,
}

#[derive(Clone, Debug, FromRow)]
pub struct Payment {
    pub order_id: String,
    pub customer_id: String,
    pub amount_cents: i64,
    pub state: String,
}

#[derive(Clone, Debug, FromRow)]
pub struct Charge {
    pub order_id: String,
    pub customer: String,
    pub amount_cents: i64,
    pub refunded_cents: i64,
    pub is_captured: bool,
}

#[derive(Clone, Debug, FromRow)]
pub struct Reservation {
    pub order_id: String,
    pub state: String,
    #[sqlx(json)]
    pub lines: Vec<Item>,
}

#[derive(Clone, Debug, FromRow)]
pub struct Award {
    pub order_id: String,
    pub customer_id: String,
    pub points: i64,
    pub state: String,
}

#[derive(Clone, Debug, FromRow)]
pub struct Fact {
    pub order_id: String,
    pub total_cents: i64,
    #[sqlx(json)]
    pub items: Vec<Item>,
    pub confirmed: bool,
    pub cancelled: bool,
    pub captured_cents: i64,
    pub refunded_cents: i64,
    pub is_ready: bool,
}

#[derive(Clone, Debug, FromRow)]
pub struct Ticket {
    pub order_id: String,
    pub customer_id: String,
    #[sqlx(json)]
    pub items: Vec<Item>,
    pub state: String,
}

#[derive(Clone, Debug, FromRow)]
pub struct Mail {
    pub order_id: String,
    pub message_id: String,
    pub kind: String,
    pub recipient: String,
}

/// Reads every table that an order leaves something in.
pub async fn read(url: &str) -> Result<Books> {
    let (order_api, payments, charges, reservations, awards, facts, tickets, mails) = tokio::try_join!(
        order_api(url),
        rows::<Payment>(url, "payment", "select order_id, customer_id, amount_cents, state from payments"),
        rows::<Charge>(
            url,
            "card_processor",
            "select reference as order_id, customer, amount_cents, refunded_cents,
                    status = 'captured' as is_captured
             from charges"
        ),
        rows::<Reservation>(url, "inventory", "select order_id, state, lines from reservations"),
        rows::<Award>(
            url,
            "loyalty",
            "select order_id, coalesce(customer_id, '') as customer_id, points, state from awards"
        ),
        rows::<Fact>(
            url,
            "analytics",
            "select order_id, coalesce(total_cents, -1) as total_cents, coalesce(items, '[]') as items,
                    confirmed, cancelled, captured_cents, refunded_cents, ready_at is not null as is_ready
             from order_facts"
        ),
        rows::<Ticket>(
            url,
            "kitchen_display",
            "select order_id, coalesce(customer_id, '') as customer_id, coalesce(items, '[]') as items, state
             from tickets"
        ),
        rows::<Mail>(url, "email", "select order_id, message_id, kind, recipient from mails order by kind"),
    )?;
    let (keys, orders) = order_api;
    Ok(Books {
        keys,
        orders: by_order(orders, |row| &row.order_id),
        payments: by_order(payments, |row| &row.order_id),
        charges: by_order(charges, |row| &row.order_id),
        reservations: by_order(reservations, |row| &row.order_id),
        awards: by_order(awards, |row| &row.order_id),
        facts: by_order(facts, |row| &row.order_id),
        tickets: by_order(tickets, |row| &row.order_id),
        mails: by_order(mails, |row| &row.order_id),
        files: HashMap::new(),
    })
}

/// The idempotency keys and the orders.
async fn order_api(url: &str) -> Result<(HashMap<String, String>, Vec<Order>)> {
    let keys = rows::<(String, String)>(url, "order_api", "select key, order_id from idempotency_keys");
    let orders = rows::<Order>(
        url,
        "order_api",
        "select order_id, customer_id, items, total_cents, status, cancel_reason, payment, stock,
                split_part(traceparent, '-', 2) as trace_id
         from orders",
    );
    let (keys, orders) = tokio::try_join!(keys, orders)?;
    Ok((keys.into_iter().collect(), orders))
}

async fn rows<T>(url: &str, database: &str, sql: &'static str) -> Result<Vec<T>>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut connection = connect(url, database).await?;
    let rows = sqlx::query_as(sql).fetch_all(&mut connection).await;
    rows.with_context(|| format!("the accounting cannot read the database {database}"))
}

async fn connect(url: &str, database: &str) -> Result<PgConnection> {
    options(url, database)?
        .connect()
        .await
        .with_context(|| format!("the database {database} does not let the accounting in"))
}

/// `url` names any database of the shop's Postgres, or says with `{database}` where the name goes.
pub fn options(url: &str, database: &str) -> Result<PgConnectOptions> {
    let wrong = "OPERATOR_DATABASE_URL is not a Postgres URL";
    let options = match url.contains("{database}") {
        true => PgConnectOptions::from_str(&url.replace("{database}", database)).context(wrong)?,
        false => PgConnectOptions::from_str(url).context(wrong)?.database(database),
    };
    Ok(options.application_name("chaos"))
}

fn by_order<T>(rows: Vec<T>, order_id: impl Fn(&T) -> &str) -> HashMap<String, Vec<T>> {
    let mut found = HashMap::<String, Vec<T>>::with_capacity(rows.len());
    for row in rows {
        found.entry(order_id(&row).to_owned()).or_default().push(row);
    }
    found
}
