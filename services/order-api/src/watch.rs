//! Tells open event streams when their order has changed, whichever instance changed it.
//!
//! One task per process asks the database for the versions of all orders that somebody watches, in one
//! query, and only while somebody does. That costs the same for one stream as for thousands, needs no
//! connection per stream, and leaves the commit path alone, where a `NOTIFY` would make commits queue up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messaging::bounded;
use service::Problem;
use sqlx::PgPool;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// From the announcement of a change to its commit, usually. If it takes longer, the next look sees it.
const COMMIT_TAKES: Duration = Duration::from_millis(10);

#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    /// Of each watched order the newest version seen, and how many watch it.
    orders: Mutex<HashMap<String, (watch::Sender<i64>, usize)>>,
    places: Arc<Semaphore>,
    somebody_came: Notify,
    change_expected: Notify,
    stop: CancellationToken,
}

/// One stream's interest in one order. Dropping it ends it.
pub struct Watched {
    watch: Watch,
    order_id: String,
    version: watch::Receiver<i64>,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    pub fn new(places: usize, stop: CancellationToken) -> Watch {
        Watch(Arc::new(Inner {
            orders: Mutex::default(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            somebody_came: Notify::new(),
            change_expected: Notify::new(),
            stop,
        }))
    }

    /// To be called before the order is first read, so that no change falls between the two.
    pub fn order(&self, order_id: &str) -> Result<Watched, Problem> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| {
            Problem::unavailable("too many event streams are open; use GET /orders/{id}, or try again later")
                .retry_after(5)
        })?;
        let mut orders = self.orders();
        let (sender, watchers) =
            orders.entry(order_id.to_owned()).or_insert_with(|| (watch::Sender::new(0), 0));
        *watchers += 1;
        let version = sender.subscribe();
        self.0.somebody_came.notify_one();
        Ok(Watched { watch: self.clone(), order_id: order_id.to_owned(), version, _place: place })
    }

    /// A change will be committed in a moment: look sooner than usual.
    pub fn expect_change(&self) {
        self.0.change_expected.notify_one();
    }

    /// Looks until told to stop.
    pub async fn run(self, pool: PgPool) -> anyhow::Result<()> {
        let inner = &self.0;
        while !inner.stop.is_cancelled() {
            let watched: Vec<String> = self.orders().keys().cloned().collect();
            let pause = async {
                if watched.is_empty() {
                    inner.somebody_came.notified().await;
                } else if timeout(LOOK_EVERY, inner.change_expected.notified()).await.is_ok() {
                    sleep(COMMIT_TAKES).await;
                }
            };
            tokio::select! {
                () = inner.stop.cancelled() => break,
                () = pause => {}
            }
            if watched.is_empty() {
                continue;
            }
            match bounded(store::versions(&pool, &watched)).await {
                Ok(versions) => self.publish(versions),
                Err(error) => tracing::debug!(%error, "cannot look at the watched orders"),
            }
        }
        Ok(())
    }

    fn publish(&self, versions: Vec<(String, i64)>) {
        let orders = self.orders();
        for (order_id, version) in versions {
            if let Some((sender, _)) = orders.get(&order_id) {
                sender.send_if_modified(|known| std::mem::replace(known, version) != version);
            }
        }
    }

    fn orders(&self) -> MutexGuard<'_, HashMap<String, (watch::Sender<i64>, usize)>> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    pub fn order_id(&self) -> &str {
        &self.order_id
    }

    /// Waits for a version newer than `known`. `false` when the process is stopping.
    pub async fn newer_than(&mut self, known: i64) -> bool {
        tokio::select! {
            () = self.watch.0.stop.cancelled() => false,
            newer = self.version.wait_for(|version| *version > known) => newer.is_ok(),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut orders = self.watch.orders();
        if let Some((_, watchers)) = orders.get_mut(&self.order_id) {
            *watchers -= 1;
            if *watchers == 0 {
                orders.remove(&self.order_id);
            }
        }
    }
}
