//! Keeps the outbox and the inbox from growing for ever.
//!
//! Published rows stay long enough to refill a broker that lost what it had stored, and then go a day at a
//! time. Inbox rows must outlive every message that could still be delivered again, so they stay for twice
//! the age limit of the streams, and go a few thousand at a time.

use std::time::Duration;

use sqlx::{PgExecutor, PgPool};
use tokio_util::sync::CancellationToken;

use crate::bounded;

/// How often room is made: a machine that slept for days has none for today when it wakes up.
const EVERY: Duration = Duration::from_secs(60);
/// Of these, each such round also drops and forgets.
const THOROUGH: u32 = 10;
/// Partitions made ahead. Longer than any trouble that keeps us from making them may last; each costs a claim some
/// microseconds.
const DAYS_AHEAD: i32 = 3;

/// Makes room in the outbox for the days to come: at the start of a service, and then by [`run`].
pub async fn make_days(db: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("select outbox_make_days($1)").bind(DAYS_AHEAD).execute(db).await?;
    Ok(())
}

/// Runs until told to stop.
pub async fn run(pool: PgPool, stop: CancellationToken) {
    for round in 1_u32.. {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let is_thorough = round.is_multiple_of(THOROUGH);
        if let Err(error) = bounded(turn_days(&pool, is_thorough)).await {
            tracing::warn!(%error, "could not make or drop days of the outbox; will try again");
        }
        if !is_thorough {
            continue;
        }
        while !stop.is_cancelled() {
            match bounded(forget(&pool)).await {
                Ok(0) => break,
                Ok(rows) => tracing::debug!(rows, "forgot old rows"),
                Err(error) => {
                    tracing::warn!(%error, "could not make room in the inbox; will try again");
                    break;
                }
            }
        }
    }
}

async fn turn_days(pool: &PgPool, is_thorough: bool) -> Result<(), sqlx::Error> {
    make_days(pool).await?;
    if is_thorough {
        sqlx::query("select outbox_drop_days('3 days')").execute(pool).await?;
    }
    Ok(())
}

async fn forget(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let inbox = sqlx::query(
        "delete from inbox where ctid = any(array(
             select ctid from inbox where processed_at < now() - interval '14 days' limit 5000))",
    );
    // Left behind when a copy of an event was still in hand while the event was buried.
    let attempts = sqlx::query("delete from attempts where last_at < now() - interval '1 day'");
    let mut rows = 0;
    for statement in [inbox, attempts] {
        rows += statement.execute(pool).await?.rows_affected();
    }
    Ok(rows)
}
