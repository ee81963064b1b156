//! Events under suspicion. A message that comes a second time may have killed the process that held it, so
//! it is handled alone, and that it is being tried is written down *before* its handler runs. The broker's
//! own delivery count cannot tell the culprit from the hundred good events in the same batch; this can.
//! Alone means alone in the process: of all its consumers and partitions, one at a time tries a suspect.

use sqlx::{PgConnection, PgPool};

/// Notes that the event is about to be tried on its own and returns how many such tries there are now.
///
/// The note has to survive this process, not the database's, so its commit does not wait for the disk.
pub async fn begin(pool: &PgPool, consumer: &str, event_id: &str) -> Result<u32, sqlx::Error> {
    let attempts: i32 = sqlx::query_scalar(
        "insert into attempts (consumer, event_id, attempts)
         select $1, $2, 1 from set_config('synchronous_commit', 'off', true) as at_once where at_once = 'off'
         on conflict (consumer, event_id) do update set attempts = attempts.attempts + 1, last_at = now()
         returning attempts",
    )
    .bind(consumer)
    .bind(event_id)
    .fetch_one(pool)
    .await?;
    Ok(attempts.unsigned_abs())
}

/// The try did not count: what it needed was away.
pub async fn forgive(pool: &PgPool, consumer: &str, event_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update attempts set attempts = attempts - 1 where consumer = $1 and event_id = $2")
        .bind(consumer)
        .bind(event_id)
        .execute(pool)
        .await?;
    Ok(())
}

/// The event was processed or buried: nothing to remember.
pub async fn clear(db: &mut PgConnection, consumer: &str, event_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from attempts where consumer = $1 and event_id = $2")
        .bind(consumer)
        .bind(event_id)
        .execute(db)
        .await?;
    Ok(())
}
