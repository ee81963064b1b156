//! Settles what time settles: orders that nobody confirmed by their deadline are cancelled, and idempotency
//! keys expire. Any number of instances may sweep; they step around each other's locks.

use std::sync::Arc;
use std::time::Duration;

use messaging::{Outgoing, bounded};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::{Order, Step};
use crate::handlers::outcomes::outgoing;
use crate::watch::Watch;
use crate::{figures, store};

const EVERY: Duration = Duration::from_secs(1);
const ORDERS: i64 = 500;
const KEYS: i64 = 5_000;

pub struct Sweeper {
    pub pool: PgPool,
    pub outbox_written: Arc<Notify>,
    pub watch: Watch,
    pub stop: CancellationToken,
}

impl Sweeper {
    pub async fn run(self) -> anyhow::Result<()> {
        loop {
            let pause = match bounded(self.sweep()).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "the sweeper could not do its work; will try again");
                    EVERY
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// `true` when there may be more.
    async fn sweep(&self) -> Result<bool, sqlx::Error> {
        let cancelled = self.cancel_overdue().await?;
        let forgotten = store::forget_keys(&self.pool, KEYS).await?;
        Ok(cancelled as i64 == ORDERS || forgotten as i64 == KEYS)
    }

    async fn cancel_overdue(&self) -> Result<usize, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let orders = store::lock_overdue(&mut tx, ORDERS).await?;
        if orders.is_empty() {
            return Ok(0);
        }
        let mut says = Vec::new();
        let mut expired: Vec<(Order, Vec<Step>)> = Vec::with_capacity(orders.len());
        for (mut order, trace) in orders {
            let steps = order.expire();
            says.extend(steps.iter().filter_map(outgoing).map(|event| Outgoing::event(&event, &trace)));
            expired.push((order, steps));
        }
        let changed: Vec<(&Order, &[Step])> =
            expired.iter().map(|(order, steps)| (order, steps.as_slice())).collect();
        store::save(&mut tx, &changed).await?;
        messaging::append(&mut tx, &says).await?;
        tx.commit().await?;
        self.outbox_written.notify_one();
        self.watch.expect_change();
        tracing::info!(orders = expired.len(), "cancelled orders that were not settled in time");
        figures::expired(expired.len());
        Ok(expired.len())
    }
}
