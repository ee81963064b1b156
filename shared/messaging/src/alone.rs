//! Events under suspicion. A message that comes a second time may have killed the process that held it, so
//! that it is being tried is written down *before* its handler runs. The broker's own delivery count cannot tell the
//! culprit from the hundred good events in the same batch; this can.
//!
//! Suspects are first tried together, for nearly all are innocent: their process was killed from outside. One that was
//! noted before is tried alone, and alone means alone in the process: of all its consumers and partitions, one at a
//! time tries suspects.

use std::collections::HashSet;

use sqlx::{PgExecutor, PgPool};

/// Notes that the events are about to be tried and returns the number of tries, this one included, of that which has
/// most.
///
/// The note has to survive this process, not the database's, so its commit does not wait for the disk.
pub async fn begin(pool: &PgPool, consumer: &str, event_ids: &[&str]) -> Result<u32, sqlx::Error> {
    let attempts: Vec<i32> = sqlx::query_scalar(
        "insert into attempts (consumer, event_id, attempts)
         select $1, id, 1
         from (select distinct unnest($2::text[]) as id order by id) as tried,
              set_config('synchronous_commit', 'off', true) as at_once where at_once = 'off'
         on conflict (consumer, event_id) do update set attempts = attempts.attempts + 1, last_at = now()
         returning attempts",
    )
    .bind(consumer)
    .bind(event_ids)
    .fetch_all(pool)
    .await?;
    Ok(attempts.into_iter().max().unwrap_or_default().unsigned_abs())
}

/// Which of the events were tried before.
pub async fn tried(
    pool: &PgPool,
    consumer: &str,
    event_ids: &[&str],
) -> Result<HashSet<String>, sqlx::Error> {
    let tried: Vec<String> =
        sqlx::query_scalar("select event_id from attempts where consumer = $1 and event_id = any($2)")
            .bind(consumer)
            .bind(event_ids)
            .fetch_all(pool)
            .await?;
    Ok(tried.into_iter().collect())
}

/// The try did not count: what it needed was away, or another of these events was to blame.
pub async fn forgive(pool: &PgPool, consumer: &str, event_ids: &[&str]) -> Result<(), sqlx::Error> {
    sqlx::query("update attempts set attempts = attempts - 1 where consumer = $1 and event_id = any($2)")
        .bind(consumer)
        .bind(event_ids)
        .execute(pool)
        .await?;
    Ok(())
}

/// The events were processed or buried: nothing to remember.
pub async fn clear(db: impl PgExecutor<'_>, consumer: &str, event_ids: &[&str]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from attempts where consumer = $1 and event_id = any($2)")
        .bind(consumer)
        .bind(event_ids)
        .execute(db)
        .await?;
    Ok(())
}
