//! The writers themselves: gather, store, answer, and hold out while the database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use messaging::span::{self, KeyValue, SpanKind};
use messaging::{Failure, failpoint};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Mutex, MutexGuard, Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Answer, Waiting};
use crate::placement::Placement;
use crate::store;

/// Orders in one statement, at most. More would save little and make each of them wait longer.
const BATCH: usize = 256;
/// A statement without an answer for so long may or may not have happened.
const STATEMENT_LIMIT: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const BETWEEN_CONNECTS: Duration = Duration::from_millis(100);
/// One statement at a time is enough: what comes meanwhile goes together with the next. But one that is full, or has taken
/// longer than this (a slow disk, a lock, a database that hangs), has others beside it.
const ALONE_FOR: Duration = Duration::from_millis(4);

pub struct Crew {
    pub pool: PgPool,
    pub queue: Mutex<Queue>,
    /// Whoever has it need not wait for the statement before.
    pub turn: Mutex<()>,
    pub database_is_up: Arc<AtomicBool>,
    pub settle_within: Duration,
    pub outbox_written: Arc<Notify>,
}

pub struct Queue {
    waiting: mpsc::Receiver<Waiting>,
    /// When a statement may begin beside the last one.
    beside: Instant,
}

impl Queue {
    pub fn new(waiting: mpsc::Receiver<Waiting>) -> Queue {
        Queue { waiting, beside: Instant::now() }
    }
}

/// The connection can no longer be trusted. What is unsettled may have been stored or not.
struct Lost {
    unsettled: Vec<Waiting>,
    /// The connection broke, as opposed to a database that does not answer: worth asking again at once.
    broke: bool,
}

enum Connection {
    Open(PoolConnection<Postgres>),
    /// Nobody is left who could place an order.
    NotNeeded,
}

impl Crew {
    pub async fn run(self: Arc<Self>) {
        while let Connection::Open(mut db) = self.connect().await {
            let Err(lost) = self.write(&mut db).await else { return };
            db.close_on_drop();
            drop(db);
            self.settle(lost).await;
            self.outbox_written.notify_one();
        }
    }

    /// Waits for the database; meanwhile whoever orders is told so.
    async fn connect(&self) -> Connection {
        loop {
            match self.try_connect().await {
                Some(db) => return Connection::Open(db),
                None if self.turn_away().await => return Connection::NotNeeded,
                None => tokio::time::sleep(BETWEEN_CONNECTS).await,
            }
        }
    }

    async fn try_connect(&self) -> Option<PoolConnection<Postgres>> {
        let db = timeout(CONNECT_LIMIT, self.pool.acquire()).await.ok().and_then(Result::ok);
        if self.database_is_up.swap(db.is_some(), Ordering::Relaxed) != db.is_some() {
            match db {
                Some(_) => tracing::info!("the database is back: taking orders again"),
                None => tracing::error!("the database is away: orders are refused until it is back"),
            }
        }
        db
    }

    /// Answers everybody who waits. `true` when nobody will come any more. A writer that holds the queue
    /// will find out by itself.
    async fn turn_away(&self) -> bool {
        let Ok(mut queue) = self.queue.try_lock() else { return false };
        loop {
            match queue.waiting.try_recv() {
                Ok(waiting) => waiting.answer(Answer::NotTried),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    /// Stores whatever comes, until nobody can order any more or the connection is lost.
    async fn write(&self, db: &mut PgConnection) -> Result<(), Lost> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let turn = self.gather(&mut batch).await;
            if batch.is_empty() {
                return Ok(());
            }
            // Who has given up waiting was promised nothing.
            batch.retain(|waiting| !waiting.answer.is_closed());
            self.store(db, std::mem::take(&mut batch)).await?;
            drop(turn);
            // The relay comes after those who wait for an answer.
            tokio::task::yield_now().await;
            self.outbox_written.notify_one();
        }
    }

    /// Takes what waits, and what comes until its turn; nothing when nobody can order any more.
    async fn gather(&self, batch: &mut Vec<Waiting>) -> Option<MutexGuard<'_, ()>> {
        let mut queue = self.queue.lock().await;
        // First, so that in a quiet shop the end of a statement wakes nobody but those who wait for the answer.
        queue.waiting.recv_many(batch, BATCH).await;
        let turn = tokio::select! {
            biased;
            turn = self.turn.lock() => Some(turn),
            () = sleep_until(queue.beside) => None,
        };
        while batch.len() < BATCH
            && let Ok(waiting) = queue.waiting.try_recv()
        {
            batch.push(waiting);
        }
        let is_full = batch.len() == BATCH;
        queue.beside = Instant::now() + if is_full { Duration::ZERO } else { ALONE_FOR };
        turn
    }

    /// Stores the batch. If the database refuses it for what is in it, it is split until the bad order
    /// stands alone.
    async fn store(&self, db: &mut PgConnection, batch: Vec<Waiting>) -> Result<(), Lost> {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) {
            let orders: Vec<&Placement> = part.iter().map(|waiting| &waiting.placement).collect();
            failpoint::dies_at("order-before-commit");
            let since = SystemTime::now();
            let storing = timeout(STATEMENT_LIMIT, store::accept(db, &orders, self.settle_within)).await;
            let error = match storing {
                Ok(Ok(stored)) => {
                    self.committed(part, since, |id| stored.contains(id));
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.lost(part, parts, false)),
            };
            if store::is_order_stored(&error) && part.len() == 1 {
                self.committed(part, since, |_| true);
                continue;
            }
            let text = error.to_string();
            if let Failure::Unavailable(error) = Failure::from(error) {
                tracing::warn!(%error, orders = part.len(), "lost the database while storing orders");
                return Err(self.lost(part, parts, true));
            }
            if part.len() == 1 {
                let Placement { order_id, created, .. } = &part[0].placement;
                tracing::error!(order = %order_id, trace = created.trace.trace_id(), error = text, "cannot store an order");
                part.into_iter().for_each(|waiting| waiting.answer(Answer::Refused));
            } else {
                let right = part.split_off(part.len() / 2);
                parts.extend([right, part]);
            }
        }
        Ok(())
    }

    fn lost(&self, part: Vec<Waiting>, parts: Vec<Vec<Waiting>>, broke: bool) -> Lost {
        Lost { unsettled: std::iter::once(part).chain(parts).flatten().collect(), broke }
    }

    /// Order ids are made once, so a broken connection leaves no doubt that a new one cannot settle: what is
    /// stored is stored, and storing the rest again cannot double it, because the ids are unique.
    async fn settle(&self, lost: Lost) {
        let Lost { unsettled, broke } = lost;
        let db = if broke { self.try_connect().await } else { None };
        let rest = match db {
            Some(mut db) => match self.settle_over(&mut db, unsettled).await {
                Ok(()) => return,
                Err(lost) => {
                    db.close_on_drop();
                    lost.unsettled
                }
            },
            None => unsettled,
        };
        rest.into_iter().for_each(|waiting| waiting.answer(Answer::Unknown));
    }

    async fn settle_over(&self, db: &mut PgConnection, unsettled: Vec<Waiting>) -> Result<(), Lost> {
        let since = SystemTime::now();
        let ids: Vec<&str> = unsettled.iter().map(|waiting| waiting.placement.order_id.as_str()).collect();
        let Ok(Ok(stored)) = timeout(STATEMENT_LIMIT, store::stored_among(db, &ids)).await else {
            return Err(Lost { unsettled, broke: true });
        };
        let (stored, rest): (Vec<_>, Vec<_>) =
            unsettled.into_iter().partition(|waiting| stored.contains(waiting.placement.order_id.as_str()));
        self.committed(stored, since, |_| true);
        self.store(db, rest).await
    }

    fn committed(&self, part: Vec<Waiting>, since: SystemTime, is_stored: impl Fn(&str) -> bool) {
        failpoint::dies_at("order-after-commit");
        metrics::histogram!("orders_per_commit").record(part.len() as f64);
        let (mut stored, orders) = (0, part.len() as i64);
        for waiting in part {
            let answer = match is_stored(waiting.placement.order_id.as_str()) {
                true => Answer::Stored,
                false => Answer::KeyTaken,
            };
            stored += u64::from(answer == Answer::Stored);
            let Placement { order_id, created, .. } = &waiting.placement;
            span::record("commit order", SpanKind::Client, &created.trace, since, || {
                [
                    KeyValue::new("db.system.name", "postgresql"),
                    KeyValue::new("db.operation.name", "INSERT"),
                    KeyValue::new("db.collection.name", "orders"),
                    KeyValue::new("db.operation.batch.size", orders),
                    KeyValue::new("order.id", order_id.to_string()),
                ]
            });
            waiting.answer(answer);
        }
        metrics::counter!("orders_accepted_total").increment(stored);
    }
}

impl Waiting {
    /// Frees its idempotency key first, so that whoever hears the answer finds the key free.
    fn answer(self, answer: Answer) {
        drop(self.placement);
        let _ = self.answer.send(answer);
    }
}
