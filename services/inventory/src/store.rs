//! All SQL of the inventory. Rows are locked in the order of their keys, so that two instances with
//! overlapping batches queue up instead of deadlocking.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::domain::{Line, Reservation, State};
use crate::stock::{Article, Shelf};

/// What a batch may need from the stock.
#[derive(Default)]
pub struct Mentioned {
    pub skus: BTreeSet<String>,
    /// In lower case.
    pub names: BTreeSet<String>,
}

/// The reservations of those of these orders that have one, locked in the order of their ids.
pub async fn lock_reservations(
    tx: &mut PgConnection,
    orders: &[&str],
) -> Result<BTreeMap<String, Reservation>, sqlx::Error> {
    let rows: Vec<(String, String, Json<Vec<Line>>)> = sqlx::query_as(
        "select order_id, state, lines from reservations where order_id = any($1) order by order_id for update",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(order, state, Json(lines))| {
            Some((order, Reservation { state: State::parse(&state)?, lines }))
        })
        .collect())
}

pub async fn lock_stock(tx: &mut PgConnection, mentioned: &Mentioned) -> Result<Shelf, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select sku, name, available from stock where sku = any($1) or lower(name) = any($2)
         order by sku for update",
    )
    .bind(Vec::from_iter(&mentioned.skus))
    .bind(Vec::from_iter(&mentioned.names))
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|(sku, name, available)| Article { sku, name, available }).collect())
}

/// Writes reservations, sorted by order: `locked` ones over what [`lock_reservations`] found, all others as new. `false`
/// when one of these was written by another instance meanwhile; it is left as that one made it.
pub async fn save_reservations(
    tx: &mut PgConnection,
    rows: &BTreeMap<&str, Reservation>,
    locked: &[&str],
) -> Result<bool, sqlx::Error> {
    if rows.is_empty() {
        return Ok(true);
    }
    let saved = sqlx::query(
        "insert into reservations (order_id, state, lines)
         select * from unnest($1::text[], $2::text[], $3::jsonb[])
         on conflict (order_id) do update set state = excluded.state, lines = excluded.lines
             where reservations.order_id in (select unnest($4::text[]))",
    )
    .bind(rows.keys().copied().collect::<Vec<_>>())
    .bind(rows.values().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind(rows.values().map(|row| Json(&row.lines)).collect::<Vec<_>>())
    .bind(locked)
    .execute(tx)
    .await?;
    Ok(saved.rows_affected() == rows.len() as u64)
}

/// Writes what changed on a shelf that [`lock_stock`] has locked.
pub async fn save_stock(tx: &mut PgConnection, shelf: &Shelf) -> Result<(), sqlx::Error> {
    let changed: Vec<&Article> = shelf.changed().collect();
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update stock set available = new.available
         from unnest($1::text[], $2::bigint[]) as new (sku, available)
         where stock.sku = new.sku",
    )
    .bind(changed.iter().map(|article| article.sku.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|article| article.available).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(Serialize, sqlx::FromRow)]
pub struct StockRow {
    pub sku: String,
    pub name: String,
    pub available: i64,
}

pub async fn list_stock(pool: &PgPool) -> Result<Vec<StockRow>, sqlx::Error> {
    sqlx::query_as("select sku, name, available from stock order by name").fetch_all(pool).await
}

/// Sets what is available. What the shop ever had moves by the same amount, as if it had been delivered or
/// thrown away: what is reserved stays reserved. `None` when there is no such sku.
pub async fn set_available(
    pool: &PgPool,
    sku: &str,
    available: i64,
) -> Result<Option<StockRow>, sqlx::Error> {
    sqlx::query_as(
        "update stock set initial = initial + ($2 - available), available = $2
         where sku = $1 returning sku, name, available",
    )
    .bind(sku)
    .bind(available)
    .fetch_optional(pool)
    .await
}
