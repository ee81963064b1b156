//! All SQL of analytics. Rows are locked in the order of their keys, facts before items before totals, so
//! that two instances with overlapping batches queue up instead of deadlocking.

use std::collections::BTreeMap;

use events::{Cents, Item};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgPool};
use time::OffsetDateTime;

use crate::domain::{Created, Fact, Sold, Totals};

#[derive(FromRow)]
struct FactRow {
    order_id: String,
    total_cents: Option<i64>,
    items: Option<Json<Vec<Item>>>,
    created_at: Option<OffsetDateTime>,
    confirmed: bool,
    cancelled: bool,
    captured_cents: i64,
    refunded_cents: i64,
    ready_at: Option<OffsetDateTime>,
}

impl FactRow {
    fn into_fact(self) -> (String, Fact) {
        let created = match (self.created_at, self.total_cents, self.items) {
            (Some(at), Some(total), Some(Json(items))) => Some(Created { at, total: Cents(total), items }),
            _ => None,
        };
        let fact = Fact {
            created,
            confirmed: self.confirmed,
            cancelled: self.cancelled,
            captured: Cents(self.captured_cents),
            refunded: Cents(self.refunded_cents),
            ready_at: self.ready_at,
        };
        (self.order_id, fact)
    }
}

/// The facts of those of these orders that were heard of, locked in the order of their ids.
pub async fn lock_facts(
    tx: &mut PgConnection,
    orders: &[&str],
) -> Result<BTreeMap<String, Fact>, sqlx::Error> {
    let rows: Vec<FactRow> = sqlx::query_as(
        "select order_id, total_cents, items, created_at, confirmed, cancelled, captured_cents,
                refunded_cents, ready_at
         from order_facts where order_id = any($1) order by order_id for update",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(FactRow::into_fact).collect())
}

/// Writes facts, sorted by order: over those `locked` by [`lock_facts`], the others as new. `false` when another
/// instance has written one of these meanwhile; that one is left as it is.
pub async fn save_facts(
    tx: &mut PgConnection,
    facts: &BTreeMap<String, Fact>,
    locked: &[String],
) -> Result<bool, sqlx::Error> {
    let created = || facts.values().map(|fact| fact.created.as_ref());
    let saved = sqlx::query(
        "insert into order_facts (order_id, total_cents, items, created_at, confirmed, cancelled,
                                  captured_cents, refunded_cents, ready_at)
         select * from unnest($1::text[], $2::bigint[], $3::jsonb[], $4::timestamptz[], $5::boolean[],
                              $6::boolean[], $7::bigint[], $8::bigint[], $9::timestamptz[])
         on conflict (order_id) do update set
             total_cents = excluded.total_cents, items = excluded.items, created_at = excluded.created_at,
             confirmed = excluded.confirmed, cancelled = excluded.cancelled,
             captured_cents = excluded.captured_cents, refunded_cents = excluded.refunded_cents,
             ready_at = excluded.ready_at
             where order_facts.order_id in (select unnest($10::text[]))",
    )
    .bind(facts.keys().map(String::as_str).collect::<Vec<_>>())
    .bind(created().map(|order| order.map(|order| order.total.0)).collect::<Vec<_>>())
    .bind(created().map(|order| order.map(|order| Json(&order.items))).collect::<Vec<_>>())
    .bind(created().map(|order| order.map(|order| order.at)).collect::<Vec<_>>())
    .bind(facts.values().map(|fact| fact.confirmed).collect::<Vec<_>>())
    .bind(facts.values().map(|fact| fact.cancelled).collect::<Vec<_>>())
    .bind(facts.values().map(|fact| fact.captured.0).collect::<Vec<_>>())
    .bind(facts.values().map(|fact| fact.refunded.0).collect::<Vec<_>>())
    .bind(facts.values().map(|fact| fact.ready_at).collect::<Vec<_>>())
    .bind(locked)
    .execute(tx)
    .await?;
    Ok(saved.rows_affected() == facts.len() as u64)
}

pub async fn move_items(tx: &mut PgConnection, change: &BTreeMap<String, Sold>) -> Result<(), sqlx::Error> {
    let moved: Vec<_> = change.iter().filter(|(_, sold)| **sold != Sold::default()).collect();
    if moved.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into item_totals (name, quantity, cents)
         select * from unnest($1::text[], $2::bigint[], $3::bigint[]) as moved (name, quantity, cents)
         order by name
         on conflict (name) do update set quantity = item_totals.quantity + excluded.quantity,
                                          cents = item_totals.cents + excluded.cents",
    )
    .bind(moved.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
    .bind(moved.iter().map(|(_, sold)| sold.quantity).collect::<Vec<_>>())
    .bind(moved.iter().map(|(_, sold)| sold.cents).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn move_totals(tx: &mut PgConnection, change: &Totals) -> Result<(), sqlx::Error> {
    if *change == Totals::default() {
        return Ok(());
    }
    sqlx::query(
        "update totals set
             orders = orders + $1, confirmed = confirmed + $2, cancelled = cancelled + $3,
             ready = ready + $4, gross_cents = gross_cents + $5, captured_cents = captured_cents + $6,
             refunded_cents = refunded_cents + $7, micros_to_ready = micros_to_ready + $8::bigint,
             timed = timed + $9
         where id = 1",
    )
    .bind(change.orders)
    .bind(change.confirmed)
    .bind(change.cancelled)
    .bind(change.ready)
    .bind(change.gross.0)
    .bind(change.captured.0)
    .bind(change.refunded.0)
    .bind(change.micros_to_ready)
    .bind(change.timed)
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(FromRow)]
pub struct TotalsRow {
    pub orders: i64,
    pub confirmed: i64,
    pub cancelled: i64,
    pub ready: i64,
    pub captured_cents: i64,
    pub refunded_cents: i64,
    pub seconds_to_ready: f64,
    pub timed: i64,
}

pub async fn totals(pool: &PgPool) -> Result<TotalsRow, sqlx::Error> {
    sqlx::query_as(
        "select orders, confirmed, cancelled, ready, captured_cents, refunded_cents, seconds_to_ready, timed
         from totals where id = 1",
    )
    .fetch_one(pool)
    .await
}

#[derive(FromRow)]
pub struct ItemRow {
    pub name: String,
    pub quantity: i64,
    pub cents: i64,
}

pub async fn best_sellers(pool: &PgPool, limit: i64) -> Result<Vec<ItemRow>, sqlx::Error> {
    sqlx::query_as(
        "select name, quantity, cents from item_totals where quantity > 0
         order by quantity desc, cents desc, name limit $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
}
