//! All SQL of the loyalty programme. Rows are locked in the order of their keys, awards before balances, so
//! that two instances with overlapping batches queue up instead of deadlocking.

use std::collections::BTreeMap;

use events::CustomerId;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::domain::{Award, State};

/// An award to be written, and when it came about.
pub struct Changed<'a> {
    pub order: &'a str,
    pub award: &'a Award,
    pub at: OffsetDateTime,
}

/// The awards of those of these orders that have one, locked in the order of their ids.
pub async fn lock_awards(
    tx: &mut PgConnection,
    orders: &[&str],
) -> Result<BTreeMap<String, Award>, sqlx::Error> {
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
        "select order_id, customer_id, points, state from awards
         where order_id = any($1) order by order_id for update",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(order, customer, points, state)| {
            let customer = CustomerId::try_from(customer).ok()?;
            Some((order, Award { customer, points, state: State::parse(&state)? }))
        })
        .collect())
}

/// Writes awards, sorted by order: over those `locked` by [`lock_awards`], the others as new. `false` when another
/// instance has written one of these meanwhile; that one is left as it is.
pub async fn save_awards(
    tx: &mut PgConnection,
    changed: &[Changed<'_>],
    locked: &[String],
) -> Result<bool, sqlx::Error> {
    if changed.is_empty() {
        return Ok(true);
    }
    let saved = sqlx::query(
        "insert into awards (order_id, customer_id, points, state, changed_at)
         select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[])
         on conflict (order_id) do update
             set points = excluded.points, state = excluded.state, changed_at = excluded.changed_at
             where awards.order_id in (select unnest($6::text[]))",
    )
    .bind(changed.iter().map(|row| row.order).collect::<Vec<_>>())
    .bind(changed.iter().map(|row| row.award.customer.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|row| row.award.points).collect::<Vec<_>>())
    .bind(changed.iter().map(|row| row.award.state.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|row| row.at).collect::<Vec<_>>())
    .bind(locked)
    .execute(tx)
    .await?;
    Ok(saved.rows_affected() == changed.len() as u64)
}

/// Every customer of an award gets a balance, even of 0.
pub async fn move_balances(
    tx: &mut PgConnection,
    differences: &BTreeMap<CustomerId, i64>,
) -> Result<(), sqlx::Error> {
    if differences.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into balances (customer_id, points)
         select * from unnest($1::text[], $2::bigint[]) as moved (customer_id, points) order by customer_id
         on conflict (customer_id) do update set points = balances.points + excluded.points",
    )
    .bind(differences.keys().map(CustomerId::as_str).collect::<Vec<_>>())
    .bind(differences.values().copied().collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct AwardRow {
    pub order_id: String,
    pub points: i64,
    /// `awarded`, `taken_back` or `cancelled`
    pub state: String,
    #[serde(with = "time::serde::rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// `None` when no order of this customer was ever heard of.
pub async fn balance(pool: &PgPool, customer: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select points from balances where customer_id = $1")
        .bind(customer)
        .fetch_optional(pool)
        .await
}

/// The latest first.
pub async fn last_awards(pool: &PgPool, customer: &str, limit: i64) -> Result<Vec<AwardRow>, sqlx::Error> {
    sqlx::query_as(
        "select order_id, points, state, changed_at from awards
         where customer_id = $1 order by changed_at desc, order_id limit $2",
    )
    .bind(customer)
    .bind(limit)
    .fetch_all(pool)
    .await
}
