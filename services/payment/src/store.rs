//! All SQL of the payment service. Every function takes many payments and needs one statement.

use std::collections::HashSet;
use std::time::Duration;

use events::{Cents, Event};
use messaging::outbox::Columns;
use messaging::{Outgoing, TraceContext};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::domain::{Due, Payment, State};

/// A payment that this instance may work on until its claim runs out.
pub struct Claimed {
    pub payment: Payment,
    /// `uncertain` as it was before this attempt began.
    pub was_uncertain: bool,
}

/// A payment as it was read, as it shall be, and what is to be said about that.
pub struct Change {
    pub was: Payment,
    pub payment: Payment,
    pub says: Vec<Event>,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Due => "due",
            State::Cancelling => "cancelling",
            State::Captured => "captured",
            State::Declined => "declined",
            State::RefundDue => "refund_due",
            State::Refunded => "refunded",
            State::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Result<State, String> {
        use State::{Cancelled, Cancelling, Captured, Declined, RefundDue, Refunded};
        [State::Due, Cancelling, Captured, Declined, RefundDue, Refunded, Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("no payment has the state {text:?}"))
    }
}

impl FromRow<'_, PgRow> for Payment {
    fn from_row(row: &PgRow) -> Result<Payment, sqlx::Error> {
        let decode = |error: String| sqlx::Error::Decode(error.into());
        Ok(Payment {
            order_id: row.try_get::<String, _>("order_id")?.try_into().map_err(decode)?,
            customer_id: row.try_get::<String, _>("customer_id")?.try_into().map_err(decode)?,
            amount: Cents(row.try_get("amount_cents")?),
            state: State::parse(row.try_get("state")?).map_err(decode)?,
            charge_id: row.try_get("charge_id")?,
            uncertain: row.try_get("uncertain")?,
            attempts: row.try_get("attempts")?,
            due: Due::Unchanged,
            trace: TraceContext::from_parts(row.try_get("traceparent")?, row.try_get("tracestate")?),
        })
    }
}

/// The time until something is to be done, in milliseconds; `None` for never.
fn due_in(due: Due) -> Option<i64> {
    match due {
        Due::In(delay) => Some(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
        Due::Never | Due::Unchanged => None,
    }
}

fn column<T>(payments: &[Payment], field: impl Fn(&Payment) -> T) -> Vec<T> {
    payments.iter().map(field).collect()
}

/// Writes payments of orders never heard of and returns their ids; those that have a row are left alone.
/// `payments` has to be sorted by order id, so that two instances queue up instead of deadlocking. Claims count from here: the
/// transaction may have begun long ago and waited for its turn.
pub async fn insert(tx: &mut PgConnection, payments: &[Payment]) -> Result<HashSet<String>, sqlx::Error> {
    let inserted: Vec<String> = sqlx::query_scalar(
        "insert into payments (order_id, customer_id, amount_cents, state, uncertain, attempts, traceparent, tracestate,
                               due_at)
         select order_id, customer_id, amount_cents, state, uncertain, attempts, traceparent, tracestate,
                statement_timestamp() + due_in * interval '1 millisecond'
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::integer[], $7::text[],
                     $8::text[], $9::bigint[])
              as new (order_id, customer_id, amount_cents, state, uncertain, attempts, traceparent, tracestate, due_in)
         on conflict (order_id) do nothing returning order_id",
    )
    .bind(column(payments, |payment| payment.order_id.to_string()))
    .bind(column(payments, |payment| payment.customer_id.to_string()))
    .bind(column(payments, |payment| payment.amount.0))
    .bind(column(payments, |payment| payment.state.as_str()))
    .bind(column(payments, |payment| payment.uncertain))
    .bind(column(payments, |payment| payment.attempts))
    .bind(column(payments, |payment| payment.trace.traceparent.clone()))
    .bind(column(payments, |payment| payment.trace.tracestate.clone()))
    .bind(column(payments, |payment| due_in(payment.due)))
    .fetch_all(tx)
    .await?;
    Ok(inserted.into_iter().collect())
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select order_id, customer_id, amount_cents, state, charge_id, uncertain, attempts, traceparent, tracestate
             from payments where order_id = any($1)",
            $rest
        )
    };
}

pub async fn read(db: &mut PgConnection, order_ids: &[&str]) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(select!("")).bind(order_ids).fetch_all(db).await
}

/// Reads payments and keeps them for this transaction, in the order of their ids.
pub async fn lock(tx: &mut PgConnection, order_ids: &[&str]) -> Result<Vec<Payment>, sqlx::Error> {
    sqlx::query_as(select!(" order by order_id for update")).bind(order_ids).fetch_all(tx).await
}

/// Writes payments that [`lock`] has read. The number of attempts is the claim's business alone.
pub async fn update(tx: &mut PgConnection, payments: &[Payment]) -> Result<(), sqlx::Error> {
    if payments.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update payments set customer_id = new.customer_id, amount_cents = new.amount_cents, state = new.state,
             charge_id = new.charge_id, uncertain = new.uncertain, traceparent = new.traceparent,
             tracestate = new.tracestate, updated_at = now(),
             due_at = case when new.is_due_unchanged then payments.due_at
                           else now() + new.due_in * interval '1 millisecond' end
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::text[],
                     $8::text[], $9::boolean[], $10::bigint[])
              as new (order_id, customer_id, amount_cents, state, charge_id, uncertain, traceparent, tracestate,
                      is_due_unchanged, due_in)
         where payments.order_id = new.order_id",
    )
    .bind(column(payments, |payment| payment.order_id.to_string()))
    .bind(column(payments, |payment| payment.customer_id.to_string()))
    .bind(column(payments, |payment| payment.amount.0))
    .bind(column(payments, |payment| payment.state.as_str()))
    .bind(column(payments, |payment| payment.charge_id.clone()))
    .bind(column(payments, |payment| payment.uncertain))
    .bind(column(payments, |payment| payment.trace.traceparent.clone()))
    .bind(column(payments, |payment| payment.trace.tracestate.clone()))
    .bind(column(payments, |payment| payment.due == Due::Unchanged))
    .bind(column(payments, |payment| due_in(payment.due)))
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what the ends of calls changed, and what is to be said about it, where the payment still is as it was read: nobody has
/// changed its state or begun another attempt. Returns the ids of those. Locked in the order of their ids, as by [`lock`].
pub async fn replace(db: &mut PgConnection, changes: &[Change]) -> Result<HashSet<String>, sqlx::Error> {
    let each = || changes.iter().map(|change| &change.payment);
    let says: Vec<Outgoing> = changes
        .iter()
        .flat_map(|change| change.says.iter().map(|said| Outgoing::event(said, &change.payment.trace)))
        .collect();
    let outbox = Columns::of(&says);
    let written: Vec<String> = sqlx::query_scalar(
        "with still as (
             select new.* from unnest($1::text[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::boolean[],
                                      $7::bigint[])
                  as new (order_id, was, attempts, state, charge_id, uncertain, due_in)
                  join payments using (order_id)
             where payments.state = new.was and payments.attempts = new.attempts
             order by order_id for update of payments
         ), said as (
             insert into outbox (event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body,
                                 created_at)
             select event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body, now()
             from unnest($8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::text[],
                         $14::text[], $15::bytea[]) with ordinality
                  as new (event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body, n)
             where order_id in (select order_id from still) order by n
             returning id, created_at
         ), waiting as (
             insert into outbox_waiting (id, created_at) select id, created_at from said
         )
         update payments set state = still.state, charge_id = still.charge_id, uncertain = still.uncertain,
                             due_at = now() + still.due_in * interval '1 millisecond', updated_at = now()
         from still where payments.order_id = still.order_id returning payments.order_id",
    )
    .bind(each().map(|payment| payment.order_id.as_str()).collect::<Vec<_>>())
    .bind(changes.iter().map(|change| change.was.state.as_str()).collect::<Vec<_>>())
    .bind(each().map(|payment| payment.attempts).collect::<Vec<_>>())
    .bind(each().map(|payment| payment.state.as_str()).collect::<Vec<_>>())
    .bind(each().map(|payment| payment.charge_id.as_deref()).collect::<Vec<_>>())
    .bind(each().map(|payment| payment.uncertain).collect::<Vec<_>>())
    .bind(each().map(|payment| due_in(payment.due)).collect::<Vec<_>>())
    .bind(outbox.ids)
    .bind(outbox.kinds)
    .bind(outbox.order_ids)
    .bind(outbox.subjects)
    .bind(outbox.times)
    .bind(outbox.traceparents)
    .bind(outbox.tracestates)
    .bind(outbox.bodies)
    .fetch_all(db)
    .await?;
    Ok(written.into_iter().collect())
}

/// Takes payments that are due, those that have waited longest first, and begins an attempt of each (see
/// [`Payment::attempted`]). Nobody else takes them until `claim` has passed, by the database's clock; if this process dies,
/// somebody does then.
pub async fn claim(
    db: &mut PgConnection,
    limit: usize,
    claim: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query(
        "with next as (
             select order_id, uncertain from payments where due_at <= now()
             order by due_at limit $1 for update skip locked
         )
         update payments set attempts = attempts + 1, uncertain = true, updated_at = now(),
                             due_at = now() + $2 * interval '1 millisecond'
         from next where payments.order_id = next.order_id
         returning payments.*, next.uncertain as was_uncertain",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(due_in(Due::In(claim)))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Claimed { payment: Payment::from_row(row)?, was_uncertain: row.try_get("was_uncertain")? })
        })
        .collect()
}

/// Payments with something to be done, counted up to 10,000.
pub async fn count_due(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from (select from payments where due_at is not null order by due_at limit $1) as due",
    )
    .bind(10_000_i64)
    .fetch_one(pool)
    .await
}
