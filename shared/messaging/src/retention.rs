//! Keeps the outbox and the inbox from growing for ever, a few thousand rows at a time.
//!
//! Published rows stay long enough to refill a broker that lost its tail. Inbox rows must outlive every
//! message that could still be delivered again, so they stay for twice the age limit of the streams.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(10 * 60);

/// Runs until told to stop.
pub async fn run(pool: PgPool, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        while !stop.is_cancelled() {
            match forget_some(&pool).await {
                Ok(0) => break,
                Ok(rows) => tracing::debug!(rows, "forgot old outbox and inbox rows"),
                Err(error) => {
                    tracing::warn!(%error, "could not remove old outbox and inbox rows; will try again");
                    break;
                }
            }
        }
    }
}

async fn forget_some(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let outbox = sqlx::query(
        "delete from outbox where id in (
             select id from outbox where published_at < now() - interval '3 days' order by id limit 5000)",
    );
    let inbox = sqlx::query(
        "delete from inbox where ctid = any(array(
             select ctid from inbox where processed_at < now() - interval '14 days' limit 5000))",
    );
    // Left behind when a copy of an event was still in hand while the event was buried.
    let attempts = sqlx::query("delete from attempts where last_at < now() - interval '1 day'");
    let mut rows = 0;
    for statement in [outbox, inbox, attempts] {
        rows += statement.execute(pool).await?.rows_affected();
    }
    Ok(rows)
}
