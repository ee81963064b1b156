//! All SQL of the email service.

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::letter::Letter;
use crate::task::Mail;

/// A mail the SMTP server has taken.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    message_id: String,
    order_id: String,
    kind: String,
    recipient: String,
    #[serde(with = "time::serde::rfc3339")]
    sent_at: OffsetDateTime,
    /// More than 1 when a process died before it could write down what it had sent.
    copies: i32,
}

/// Notes that the mail is about to be handed over, unless it was sent before: then `false`. The note has to
/// survive this process, not the database's, so its commit does not wait for the disk.
pub async fn begin(pool: &PgPool, message_id: &str) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "insert into handovers (message_id, begun)
         select $1, 1 from set_config('synchronous_commit', 'off', true) as at_once
         where at_once = 'off' and not exists (select from mails where message_id = $1)
         on conflict (message_id) do update set begun = handovers.begun + 1",
    )
    .bind(message_id)
    .execute(pool)
    .await?;
    Ok(begun.rows_affected() > 0)
}

/// It was certainly not taken this time.
pub async fn take_back(pool: &PgPool, message_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with ended as (delete from handovers where message_id = $1 and begun = 1)
         update handovers set begun = begun - 1 where message_id = $1 and begun > 1",
    )
    .bind(message_id)
    .execute(pool)
    .await?;
    Ok(())
}

/// It was taken. Every handover begun for it so far may have delivered a copy, and is counted as one.
pub async fn record(pool: &PgPool, mail: &Mail, letter: &Letter) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with ended as (delete from handovers where message_id = $1 returning begun)
         insert into mails (message_id, order_id, kind, recipient, copies)
         values ($1, $2, $3, $4, coalesce((select begun from ended), 0))
         on conflict (message_id) do update set copies = mails.copies + excluded.copies",
    )
    .bind(&letter.message_id)
    .bind(mail.order_id.as_str())
    .bind(mail.says.kind())
    .bind(letter.recipient.to_string())
    .execute(pool)
    .await?;
    Ok(())
}

pub async fn of_order(pool: &PgPool, order_id: &str) -> Result<Vec<Sent>, sqlx::Error> {
    sqlx::query_as(
        "select message_id, order_id, kind, recipient, sent_at, copies from mails
         where order_id = $1 order by sent_at, message_id",
    )
    .bind(order_id)
    .fetch_all(pool)
    .await
}
