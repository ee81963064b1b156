//! All SQL of the email service.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use messaging::{Kept, Statement};
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;

/// Nobody waits for mails.
const NOTED_EVERY: Duration = Duration::from_millis(20);

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

/// Notes that mails, by their message ids, are about to be handed over, unless they were sent before: then `false`. The note
/// has to survive this process, not the database's, so its commit does not wait for the disk.
pub struct Begin(pub Arc<Kept>);

impl Statement for Begin {
    type Item = String;
    type Answer = bool;
    const PACE: Duration = NOTED_EVERY;

    async fn run(&self, message_ids: &[String]) -> Result<Vec<bool>, sqlx::Error> {
        let mut db = self.0.take().await?;
        let begun: Vec<String> = sqlx::query_scalar(
            "insert into handovers (message_id, begun)
             select message_id, 1
             from unnest($1::text[]) as about (message_id), set_config('synchronous_commit', 'off', true) as at_once
             where at_once = 'off' and not exists (select from mails where mails.message_id = about.message_id)
             order by message_id
             on conflict (message_id) do update set begun = handovers.begun + 1
             returning message_id",
        )
        .bind(message_ids)
        .fetch_all(&mut *db)
        .await?;
        db.keep();
        let begun: HashSet<String> = begun.into_iter().collect();
        Ok(message_ids.iter().map(|id| begun.contains(id)).collect())
    }
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

/// Notes that mails were taken. Every handover begun for one so far may have delivered a copy, and is counted as one.
pub struct Record(pub Arc<Kept>);

#[derive(Clone)]
pub struct Taken {
    pub message_id: String,
    pub order_id: String,
    pub kind: &'static str,
    pub recipient: String,
}

impl Statement for Record {
    type Item = Taken;
    type Answer = ();
    const PACE: Duration = NOTED_EVERY;

    async fn run(&self, mails: &[Taken]) -> Result<Vec<()>, sqlx::Error> {
        let mut db = self.0.take().await?;
        sqlx::query(
            "with ended as (
                 delete from handovers where message_id = any($1) returning message_id, begun
             )
             insert into mails (message_id, order_id, kind, recipient, copies)
             select message_id, order_id, kind, recipient, coalesce(begun, 0)
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as taken (message_id, order_id, kind, recipient)
                  left join ended using (message_id)
             order by message_id
             on conflict (message_id) do update set copies = mails.copies + excluded.copies",
        )
        .bind(mails.iter().map(|mail| mail.message_id.as_str()).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.order_id.as_str()).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.kind).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.recipient.as_str()).collect::<Vec<_>>())
        .execute(&mut *db)
        .await?;
        db.keep();
        Ok(vec![(); mails.len()])
    }
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
