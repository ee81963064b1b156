//! All SQL of the ledger.

use std::collections::{HashMap, HashSet};

use events::Cents;
use serde::Serialize;
use sqlx::error::ErrorKind;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::domain::{Charge, Request, Status};
use crate::ledger::Booked;

/// Charges listed at once, at most.
const PAGE: i64 = 100;

#[derive(sqlx::FromRow)]
struct Row {
    charge_id: String,
    idempotency_key: String,
    reference: String,
    customer: String,
    amount_cents: i64,
    reason: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RefundRow {
    amount_cents: i64,
    reason: Option<String>,
    refund_id: Option<String>,
    refund_key: Option<String>,
}

/// A charge as the outside may read it.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    pub charge_id: String,
    pub reference: String,
    pub customer: String,
    #[sqlx(try_from = "i64")]
    pub amount: Amount,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[sqlx(try_from = "i64")]
    pub refunded: Amount,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Amount(pub Cents);

impl From<i64> for Amount {
    fn from(cents: i64) -> Amount {
        Amount(Cents(cents))
    }
}

/// A captured or declined charge and the `(id, key)` of its refund.
pub struct RefundState {
    pub status: Status,
    pub amount: Cents,
    pub refund: Option<(String, String)>,
}

pub enum Refunded {
    Now(Cents),
    /// Not now: the charge was refunded before, was declined, or does not exist.
    Not(Option<RefundState>),
    /// The key belongs to the refund of another charge.
    KeyTaken,
}

/// Books all charges whose key is new and finds the others, in the order given. Inserted sorted by key, so
/// that two instances with the same keys wait for each other instead of deadlocking.
pub async fn book(db: &mut PgConnection, charges: &[Charge]) -> Result<Vec<Booked>, sqlx::Error> {
    let mut sorted: Vec<&Charge> = charges.iter().collect();
    sorted.sort_by(|a, b| a.idempotency_key.cmp(&b.idempotency_key));
    let inserted: HashSet<String> = insert(db, &sorted).await?.into_iter().collect();
    let repeated: Vec<&str> = charges
        .iter()
        .filter(|charge| !inserted.contains(&charge.id))
        .map(|charge| charge.idempotency_key.as_str())
        .collect();
    let earlier = if repeated.is_empty() { HashMap::new() } else { find(db, &repeated).await? };
    charges
        .iter()
        .map(|charge| match inserted.contains(&charge.id) {
            true => Ok(Booked { charge: charge.clone(), is_new: true }),
            false => {
                let charge = earlier.get(&charge.idempotency_key).ok_or(sqlx::Error::RowNotFound)?;
                Ok(Booked { charge: charge.clone(), is_new: false })
            }
        })
        .collect()
}

async fn insert(db: &mut PgConnection, charges: &[&Charge]) -> Result<Vec<String>, sqlx::Error> {
    let status = |charge: &Charge| match charge.status {
        Status::Captured => "captured",
        Status::Declined { .. } => "declined",
    };
    let reason = |charge: &Charge| match &charge.status {
        Status::Captured => None,
        Status::Declined { reason } => Some(reason.clone()),
    };
    sqlx::query_scalar(
        "insert into charges (charge_id, idempotency_key, reference, customer, amount_cents, status, reason)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
         on conflict (idempotency_key) do nothing returning charge_id",
    )
    .bind(charges.iter().map(|charge| charge.id.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| charge.idempotency_key.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| charge.request.reference.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| charge.request.customer.as_str()).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| charge.request.amount.0).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| status(charge)).collect::<Vec<_>>())
    .bind(charges.iter().map(|charge| reason(charge)).collect::<Vec<_>>())
    .fetch_all(db)
    .await
}

async fn find(db: &mut PgConnection, keys: &[&str]) -> Result<HashMap<String, Charge>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select charge_id, idempotency_key, reference, customer, amount_cents, reason
         from charges where idempotency_key = any($1)",
    )
    .bind(keys)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.idempotency_key.clone(), row.into_charge())).collect())
}

impl Row {
    fn into_charge(self) -> Charge {
        Charge {
            id: self.charge_id,
            idempotency_key: self.idempotency_key,
            request: Request {
                reference: self.reference,
                customer: self.customer,
                amount: Cents(self.amount_cents),
            },
            status: status(self.reason),
        }
    }
}

/// Only a declined charge has a reason.
fn status(reason: Option<String>) -> Status {
    reason.map_or(Status::Captured, |reason| Status::Declined { reason })
}

pub async fn refund(
    pool: &PgPool,
    charge_id: &str,
    refund_id: &str,
    key: &str,
) -> Result<Refunded, sqlx::Error> {
    let refunded: Result<Option<i64>, sqlx::Error> = sqlx::query_scalar(
        "update charges set refunded_cents = amount_cents, refund_id = $2, refund_key = $3, refunded_at = now()
         where charge_id = $1 and status = 'captured' and refund_key is null returning amount_cents",
    )
    .bind(charge_id)
    .bind(refund_id)
    .bind(key)
    .fetch_optional(pool)
    .await;
    match refunded {
        Ok(Some(cents)) => Ok(Refunded::Now(Cents(cents))),
        Ok(None) => Ok(Refunded::Not(refund_state(pool, charge_id).await?)),
        Err(sqlx::Error::Database(error)) if error.kind() == ErrorKind::UniqueViolation => {
            Ok(Refunded::KeyTaken)
        }
        Err(error) => Err(error),
    }
}

async fn refund_state(pool: &PgPool, charge_id: &str) -> Result<Option<RefundState>, sqlx::Error> {
    let row: Option<RefundRow> = sqlx::query_as(
        "select amount_cents, reason, refund_id, refund_key from charges where charge_id = $1",
    )
    .bind(charge_id)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| RefundState {
        status: status(row.reason),
        amount: Cents(row.amount_cents),
        refund: row.refund_id.zip(row.refund_key),
    }))
}

pub async fn by_id(pool: &PgPool, charge_id: &str) -> Result<Option<Statement>, sqlx::Error> {
    sqlx::query_as(
        "select charge_id, reference, customer, amount_cents as amount, status, reason,
                refunded_cents as refunded, created_at
         from charges where charge_id = $1",
    )
    .bind(charge_id)
    .fetch_optional(pool)
    .await
}

/// The newest first.
pub async fn by_reference(pool: &PgPool, reference: &str) -> Result<Vec<Statement>, sqlx::Error> {
    sqlx::query_as(
        "select charge_id, reference, customer, amount_cents as amount, status, reason,
                refunded_cents as refunded, created_at
         from charges where reference = $1 order by created_at desc, charge_id desc limit $2",
    )
    .bind(reference)
    .bind(PAGE)
    .fetch_all(pool)
    .await
}
