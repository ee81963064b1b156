//! Who is at work: each instance of a consumer says every second that it lives and what it has done.
//! Operators read it in `coffeectl lag`; partitions are shared out among those who are alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{Runtime, bounded};

const BEAT: Duration = Duration::from_secs(1);

/// What this process has done since it started.
#[derive(Debug, Default)]
pub struct Counters {
    pub handled: AtomicU64,
    pub duplicates: AtomicU64,
    pub retries: AtomicU64,
    pub buried: AtomicU64,
}

/// Runs until the service stops, then signs off.
pub async fn heartbeat(runtime: Arc<Runtime>, consumer: &'static str) {
    while !runtime.stop.is_cancelled() {
        if let Err(error) = bounded(beat(&runtime, consumer)).await {
            tracing::debug!(consumer, %error, "no heartbeat this time");
        }
        tokio::select! {
            () = runtime.stop.cancelled() => {}
            () = tokio::time::sleep(BEAT) => {}
        }
    }
    let sign_off = sqlx::query("delete from consumer_instances where consumer = $1 and instance = $2")
        .bind(consumer)
        .bind(&runtime.instance)
        .execute(&runtime.pool);
    let _ = tokio::time::timeout(BEAT, sign_off).await;
}

/// Says that this instance lives and forgets those not heard from for an hour.
pub async fn beat(runtime: &Runtime, consumer: &str) -> Result<(), sqlx::Error> {
    let count = |counter: &AtomicU64| counter.load(Relaxed) as i64;
    sqlx::query(
        "with gone as (
            delete from consumer_instances where consumer = $1 and seen_at < now() - interval '1 hour')
         insert into consumer_instances (consumer, instance, handled, duplicates, retries, buried)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (consumer, instance) do update set seen_at = now(), handled = $3, duplicates = $4,
             retries = $5, buried = $6",
    )
    .bind(consumer)
    .bind(&runtime.instance)
    .bind(count(&runtime.counters.handled))
    .bind(count(&runtime.counters.duplicates))
    .bind(count(&runtime.counters.retries))
    .bind(count(&runtime.counters.buried))
    .execute(&runtime.pool)
    .await?;
    Ok(())
}
