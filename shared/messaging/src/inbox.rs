//! The record of processed events. A claim is made in the transaction of the effects: both are there or
//! neither is, and a second delivery finds the first one's claim.

use std::collections::HashSet;

use sqlx::{PgConnection, PgPool};

use crate::failpoint;

/// Claims the events for `consumer` and returns the ids that nobody had claimed before. Waits for another
/// instance that is processing one of them right now. Ids are sorted, so that two instances with
/// overlapping batches queue up instead of deadlocking.
pub async fn claim(
    tx: &mut PgConnection,
    consumer: &str,
    mut ids: Vec<&str>,
) -> Result<HashSet<String>, sqlx::Error> {
    ids.sort_unstable();
    ids.dedup();
    if failpoint::is_set("mutation-no-inbox") {
        return Ok(ids.into_iter().map(str::to_owned).collect());
    }
    let claimed: Vec<String> = sqlx::query_scalar(
        "insert into inbox (consumer, event_id) select $1, unnest($2::text[])
         on conflict do nothing returning event_id",
    )
    .bind(consumer)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(claimed.into_iter().collect())
}

/// Which of the events were processed already.
pub async fn processed(pool: &PgPool, consumer: &str, ids: &[&str]) -> Result<HashSet<String>, sqlx::Error> {
    let found: Vec<String> =
        sqlx::query_scalar("select event_id from inbox where consumer = $1 and event_id = any($2)")
            .bind(consumer)
            .bind(ids)
            .fetch_all(pool)
            .await?;
    Ok(found.into_iter().collect())
}
