//! Showing orders.

use events::Cents;
use sqlx::PgPool;
use sqlx::types::Json;
use time::OffsetDateTime;

use super::undecodable;
use crate::domain::Status;
use crate::view::{Line, Listed, OrderView, TimelineEntry};

#[derive(sqlx::FromRow)]
struct Row {
    order_id: String,
    customer_id: String,
    items: Json<Vec<Line>>,
    total_cents: i64,
    status: String,
    cancel_reason: Option<String>,
    version: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    times: Vec<OffsetDateTime>,
    whats: Vec<String>,
    statuses: Vec<String>,
    details: Vec<Option<String>>,
}

/// An order with its timeline, both of the same moment.
pub async fn view(pool: &PgPool, order_id: &str) -> Result<Option<OrderView>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as(
        "select order_id, customer_id, items, total_cents, status, cancel_reason, version, created_at, updated_at,
                times, whats, statuses, details
         from orders, lateral (
             select coalesce(array_agg(at order by t.version), '{}') as times,
                    coalesce(array_agg(what order by t.version), '{}') as whats,
                    coalesce(array_agg(t.status order by t.version), '{}') as statuses,
                    coalesce(array_agg(detail order by t.version), '{}') as details
             from order_timeline t where t.order_id = orders.order_id
         ) as timeline
         where order_id = $1",
    )
    .bind(order_id)
    .fetch_optional(pool)
    .await?;
    row.map(Row::decode).transpose().map_err(undecodable)
}

impl Row {
    fn decode(self) -> Result<OrderView, String> {
        let mut timeline = vec![TimelineEntry::received(self.created_at)];
        let lines = self.times.into_iter().zip(self.whats).zip(self.statuses).zip(self.details);
        for (((at, what), status), detail) in lines {
            timeline.push(TimelineEntry { at, what, status: status.parse::<Status>()?.into(), detail });
        }
        Ok(OrderView {
            order_id: self.order_id,
            status: self.status.parse::<Status>()?.into(),
            customer_id: self.customer_id,
            items: self.items.0,
            total: Cents(self.total_cents),
            cancel_reason: self.cancel_reason,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
            timeline,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    order_id: String,
    customer_id: String,
    total_cents: i64,
    status: String,
    cancel_reason: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// After the id of every order.
const NEWEST: &str = "order-~";

/// Newest first: ids begin with the time. `before` is the last id of the page before.
pub async fn list(
    pool: &PgPool,
    status: Option<Status>,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Listed>, sqlx::Error> {
    macro_rules! orders_where {
        ($condition_and_order:literal) => {
            concat!(
                "select order_id, customer_id, total_cents, status, cancel_reason, created_at, updated_at
                 from orders where ",
                $condition_and_order,
                " desc limit $2"
            )
        };
    }
    // As the indexes are written: each status is found without passing over the others. Postgres takes any status for a common
    // one, and with `status = $3` it would walk through all orders.
    let select = match status {
        None => orders_where!("order_id < $1 and $3::text is null order by order_id"),
        Some(Status::Received) => {
            orders_where!("order_id < $1 and status = 'received' and $3 = 'received' order by order_id")
        }
        Some(_) => orders_where!(
            "(status, order_id) < ($3, $1) and status >= $3 and status <> 'received'
             order by status desc, order_id"
        ),
    };
    let rows: Vec<ListedRow> = sqlx::query_as(select)
        .bind(before.unwrap_or(NEWEST))
        .bind(limit)
        .bind(status.map(Status::as_str))
        .fetch_all(pool)
        .await?;
    let listed = |row: ListedRow| {
        Ok(Listed {
            order_id: row.order_id,
            status: row.status.parse::<Status>()?.into(),
            customer_id: row.customer_id,
            total: Cents(row.total_cents),
            cancel_reason: row.cancel_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    };
    rows.into_iter().map(listed).collect::<Result<_, _>>().map_err(undecodable)
}

/// The present versions of those of the orders that exist.
pub async fn versions(pool: &PgPool, order_ids: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select order_id, version from orders where order_id = any($1)")
        .bind(order_ids)
        .fetch_all(pool)
        .await
}
