//! Moving orders forward: lock them all, decide outside, write them all.

use messaging::TraceContext;
use sqlx::PgConnection;

use super::undecodable;
use crate::domain::{Order, Step};

#[derive(sqlx::FromRow)]
struct Row {
    order_id: String,
    customer_id: String,
    email: Option<String>,
    status: String,
    cancel_reason: Option<String>,
    payment: String,
    stock: String,
    ticket: String,
    version: i64,
    #[sqlx(default)]
    traceparent: Option<String>,
}

impl Row {
    fn decode(self) -> Result<Order, String> {
        Ok(Order {
            id: self.order_id.try_into()?,
            customer: self.customer_id.try_into()?,
            email: self.email,
            status: self.status.parse()?,
            cancel_reason: self.cancel_reason,
            payment: self.payment.parse()?,
            stock: self.stock.parse()?,
            ticket: self.ticket.parse()?,
            version: self.version as u64,
        })
    }
}

fn decode(rows: Vec<Row>) -> Result<Vec<Order>, sqlx::Error> {
    rows.into_iter().map(Row::decode).collect::<Result<_, _>>().map_err(undecodable)
}

/// Those of the orders that exist, locked in the order of their ids so that two instances cannot deadlock.
pub async fn lock(tx: &mut PgConnection, order_ids: &[&str]) -> Result<Vec<Order>, sqlx::Error> {
    let rows = sqlx::query_as(
        "select order_id, customer_id, email, status, cancel_reason, payment, stock, ticket, version
         from orders where order_id = any($1) order by order_id for update",
    );
    decode(rows.bind(order_ids).fetch_all(tx).await?)
}

/// Some orders past their deadline, locked, each with its trace. Those that are being changed right now are
/// left for later.
pub async fn lock_overdue(
    tx: &mut PgConnection,
    limit: i64,
) -> Result<Vec<(Order, TraceContext)>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select order_id, customer_id, email, status, cancel_reason, payment, stock, ticket, version,
                traceparent
         from orders where status = 'received' and deadline_at < now()
         order by deadline_at limit $1 for update skip locked",
    )
    .bind(limit)
    .fetch_all(tx)
    .await?;
    let traces: Vec<TraceContext> =
        rows.iter().map(|row| TraceContext::from_parts(row.traceparent.as_deref(), None)).collect();
    Ok(decode(rows)?.into_iter().zip(traces).collect())
}

/// Writes locked orders and what was added to their timelines. Not with the time at which the transaction began: it may have
/// waited for another one, and times would go backwards.
pub async fn save(tx: &mut PgConnection, changed: &[(&Order, &[Step])]) -> Result<(), sqlx::Error> {
    let orders = || changed.iter().map(|(order, _)| *order);
    let steps =
        || changed.iter().flat_map(|(order, steps)| steps.iter().map(|step| (order.id.as_str(), step)));
    sqlx::query(
        "with changed as (
             update orders set status = new.status, cancel_reason = new.cancel_reason, payment = new.payment,
                               stock = new.stock, ticket = new.ticket, version = new.version,
                               updated_at = clock_timestamp()
             from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
                 as new (order_id, status, cancel_reason, payment, stock, ticket, version)
             where orders.order_id = new.order_id
         )
         insert into order_timeline (order_id, version, what, status, detail, at)
         select *, clock_timestamp() from unnest($8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[])",
    )
    .bind(orders().map(|order| order.id.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.status.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.cancel_reason.as_deref()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.payment.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.stock.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.ticket.as_str()).collect::<Vec<_>>())
    .bind(orders().map(|order| order.version as i64).collect::<Vec<_>>())
    .bind(steps().map(|(order_id, _)| order_id).collect::<Vec<_>>())
    .bind(steps().map(|(_, step)| step.version as i64).collect::<Vec<_>>())
    .bind(steps().map(|(_, step)| step.what.as_str()).collect::<Vec<_>>())
    .bind(steps().map(|(_, step)| step.status.as_str()).collect::<Vec<_>>())
    .bind(steps().map(|(_, step)| step.detail.as_deref()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
