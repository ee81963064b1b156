//! Refuses orders while too much waits to be published. A broker that is away alone refuses nobody: its
//! events wait in the outbox. The limit is there so that a long outage cannot fill the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use messaging::bounded;
use service::Problem;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::figures::{self, refused};
use crate::store;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Zero means no limit.
#[derive(Clone, Copy)]
pub struct Limits {
    pub rows: i64,
    /// Age of the oldest event that waits.
    pub age: Duration,
}

#[derive(Clone, Default)]
pub struct Backlog {
    is_too_much: Arc<AtomicBool>,
}

pub fn refuse() -> Problem {
    figures::refuse(refused::BACKLOG);
    let detail =
        "the shop has more orders than it can pass on; this request stored nothing, please try again later";
    Problem::unavailable(detail).retry_after(10)
}

impl Backlog {
    pub fn is_too_much(&self) -> bool {
        self.is_too_much.load(Ordering::Relaxed)
    }

    /// Looks until told to stop. While the database does not answer, what was known last stays true.
    pub async fn watch(self, pool: PgPool, limits: Limits, stop: CancellationToken) -> anyhow::Result<()> {
        let enough = if limits.rows > 0 { limits.rows } else { i64::MAX - 1 };
        loop {
            match bounded(store::backlog(&pool, enough)).await {
                Ok((rows, age)) => self.note(limits, rows, age),
                Err(error) => tracing::debug!(%error, "cannot look at the outbox"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn note(&self, limits: Limits, rows: i64, age: Duration) {
        let is_too_much =
            (limits.rows > 0 && rows > limits.rows) || (!limits.age.is_zero() && age > limits.age);
        if self.is_too_much.swap(is_too_much, Ordering::Relaxed) != is_too_much {
            match is_too_much {
                true => tracing::error!(rows, ?age, "too much waits to be published: orders are refused"),
                false => {
                    tracing::info!(rows, ?age, "the backlog is back within its limits: taking orders again")
                }
            }
        }
    }
}
