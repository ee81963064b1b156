//! One transaction for many events, and what happens when it fails: the batch is split until the one bad
//! event stands alone, so that good events never wait behind it.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use std::{mem, slice};

use futures::FutureExt;
use sqlx::{Connection, PgConnection};
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use crate::consumer::{Consumer, Reader};
use crate::failure::is_locked;
use crate::settle::{Hand, Trouble, hand_back, ids, panic_text};
use crate::{Failure, Message, Received, alone, bounded, failpoint, inbox, partitions, span};

/// A database is slow when a handler could not ask it so many things in its time.
const SLOW: u32 = 8;

impl<C: Consumer> Reader<C> {
    /// Settles every message of the batch, one way or another.
    pub(crate) async fn process(&self, batch: &[Hand<C::Message>]) {
        if batch.is_empty() {
            return;
        }
        let mut waiting = vec![batch];
        while let Some(part) = waiting.pop() {
            // What is left of a batch that failed; one that has just come is still done.
            if part.len() < batch.len() && self.settler.stop.is_cancelled() {
                waiting.push(part);
                return hand_back(waiting.into_iter().flatten(), Duration::ZERO).await;
            }
            match self.transact(part, false).await {
                Ok(()) => acknowledge(part).await,
                Err(Trouble::LeaseLost) => return self.lose_lease(),
                Err(Trouble::Stopping) => hand_back(part, Duration::ZERO).await,
                Err(trouble) if part.len() == 1 => {
                    self.settler.settle_first_failure(&part[0], trouble).await;
                }
                // Each try may cost the whole wait again, so the event is isolated in one step.
                Err(Trouble::Stuck(_) | Trouble::Locked(_)) => waiting.extend(part.chunks(1).rev()),
                Err(Trouble::Failed(_)) => {
                    let (left, right) = part.split_at(part.len() / 2);
                    waiting.push(right);
                    waiting.push(left);
                }
            }
        }
    }

    /// Handles messages that were delivered before: together what was not tried since, alone what was (see [`alone`]).
    pub(crate) async fn process_suspects(&self, suspects: &[Hand<C::Message>]) {
        let ids = ids(suspects);
        let pool = &self.settler.runtime.pool;
        let look = || async {
            let done = bounded(inbox::processed(pool, C::SPEC.name, &ids)).await?;
            Ok((done, bounded(alone::tried(pool, C::SPEC.name, &ids)).await?))
        };
        let (done, tried) = match self.settler.patiently(look).await {
            Ok(seen) => seen,
            Err(trouble) => return hand_back(suspects, self.settler.pause_after(&trouble)).await,
        };
        let standing =
            |hand: &Hand<C::Message>| (done.contains(hand.message.id()), tried.contains(hand.message.id()));
        for run in suspects.chunk_by(|one, next| standing(one) == standing(next)) {
            if self.is_lost() {
                return;
            }
            match standing(&run[0]) {
                (true, was_tried) => {
                    self.settler.runtime.skipped(C::SPEC.name, run.len());
                    if !was_tried || self.settler.forget(&run.iter().collect::<Vec<_>>()).await {
                        acknowledge(run).await;
                    }
                }
                (false, false) if run.len() > 1 => self.try_together(run).await,
                (false, _) => self.try_alone(run).await,
            }
        }
    }

    /// If this process dies of one of them, all are known to have been tried, and each is tried alone next time.
    async fn try_together(&self, suspects: &[Hand<C::Message>]) {
        // With a single attempt for each there is none to be shared.
        if self.settler.runtime.settings.max_attempts == 1 {
            return self.try_alone(suspects).await;
        }
        let attempt = match self.settler.begin_attempts(suspects).await {
            Ok(attempt) => attempt,
            Err(trouble) => return hand_back(suspects, self.settler.pause_after(&trouble)).await,
        };
        let result = self.transact(suspects, true).await;
        drop(attempt);
        match result {
            Ok(()) => acknowledge(suspects).await,
            Err(Trouble::LeaseLost) => {
                self.settler.forgive(suspects).await;
                self.lose_lease();
            }
            Err(Trouble::Stopping) => hand_back(suspects, Duration::ZERO).await,
            Err(Trouble::Failed(_) | Trouble::Stuck(_) | Trouble::Locked(_)) => {
                self.settler.forgive(suspects).await;
                self.try_alone(suspects).await;
            }
        }
    }

    async fn try_alone(&self, suspects: &[Hand<C::Message>]) {
        for hand in suspects {
            if let Some(attempt) = self.settler.begin_attempt(hand).await {
                match self.transact(slice::from_ref(hand), true).await {
                    Ok(()) => hand.delivery.ack().await,
                    Err(Trouble::LeaseLost) => {
                        self.settler.forgive([hand]).await;
                        return self.lose_lease();
                    }
                    Err(trouble) => self.settler.settle_failure(hand, trouble, attempt.number).await,
                }
            }
        }
    }

    async fn transact(&self, part: &[Hand<C::Message>], suspect: bool) -> Result<(), Trouble> {
        self.settler.patiently(|| self.transact_once(part, suspect)).await
    }

    async fn transact_once(&self, part: &[Hand<C::Message>], suspect: bool) -> Result<(), Trouble> {
        let runtime = &self.settler.runtime;
        let claiming = self.claiming.lock().await;
        let mut db = runtime.kept.take().await?;
        let limit = runtime.settings.handler_timeout + bounded::LIMIT;
        let started = Instant::now();
        let result = match timeout(limit, self.transact_over(&mut db, part, suspect, claiming)).await {
            Ok(result) => result,
            Err(_) => {
                db.close();
                return Err(Trouble::Failed(Failure::Unavailable("the database does not answer".into())));
            }
        };
        if result.is_ok() {
            db.keep();
        }
        self.settler.timed(started, result.is_ok());
        result
    }

    /// Claims, waits for its turn, handles and commits. A commit whose answer is lost counts as failed; the claim tells the next
    /// try what really happened.
    async fn transact_over(
        &self,
        db: &mut PgConnection,
        part: &[Hand<C::Message>],
        suspect: bool,
        claiming: MutexGuard<'_, ()>,
    ) -> Result<(), Trouble> {
        let (runtime, name) = (&self.settler.runtime, C::SPEC.name);
        if failpoint::is_set("mutation-ack-first") {
            acknowledge(part).await;
        }
        let mut tx = db.begin().await?;
        if let Some(partition) = self.partition
            && !partitions::holds(&mut tx, name, partition, &runtime.instance).await?
        {
            return Err(Trouble::LeaseLost);
        }
        let mut unclaimed = inbox::claim(&mut tx, name, ids(part)).await?;
        let mut new: Vec<_> = part
            .iter()
            .filter(|hand| unclaimed.remove(hand.message.id()))
            .map(|hand| hand.message.clone())
            .collect();
        let _handling = self.handling.lock().await;
        drop(claiming);
        let spans = span::Batch::start(name, &mut new);
        let undone = Undone(&*self.consumer);
        if !new.is_empty() {
            self.handle(&mut tx, &new).await?;
        }
        if suspect {
            alone::clear(&mut *tx, name, &ids(part)).await?;
        }
        failpoint::dies_at("consumer-before-commit");
        tx.commit().await?;
        mem::forget(undone);
        spans.committed();
        failpoint::dies_at("consumer-after-commit");
        runtime.committed(name, new.len(), part.len() - new.len());
        self.consumer.committed();
        Ok(())
    }

    async fn handle(&self, tx: &mut PgConnection, new: &[Received<C::Message>]) -> Result<(), Trouble> {
        let runtime = &self.settler.runtime;
        let limit = runtime.settings.handler_timeout;
        new.iter().for_each(|message| failpoint::dies_of(message.id()));
        match timeout(limit, AssertUnwindSafe(self.consumer.handle(tx, new)).catch_unwind()).await {
            Ok(Ok(Ok(()))) => {
                // Fails where the handler has swallowed an error; the commit would not.
                if cfg!(debug_assertions) {
                    sqlx::raw_sql("select 1").execute(&mut *tx).await?;
                }
                Ok(())
            }
            Ok(Ok(Err(Failure::Unavailable(error)))) if is_locked(&*error) => Err(Trouble::Locked(error)),
            Ok(Ok(Err(failure))) => Err(Trouble::Failed(failure)),
            Ok(Err(panic)) => Err(Trouble::Stuck(format!("panicked: {}", panic_text(&*panic)))),
            // It may have waited for a database that is away or slow, which is no event's fault.
            Err(_) => match self.database_is_quick(limit).await {
                true => Err(Trouble::Stuck(format!("the handler did not end within {limit:?}"))),
                false => Err(Trouble::Failed(Failure::Unavailable("the database hardly answers".into()))),
            },
        }
    }

    async fn database_is_quick(&self, limit: Duration) -> bool {
        let Ok(Ok(mut db)) = timeout(limit, self.settler.runtime.pool.acquire()).await else { return false };
        matches!(timeout(limit / SLOW, db.ping()).await, Ok(Ok(())))
    }
}

/// Tells the consumer unless the transaction is committed, however it ends: by an error, a timeout or a panic.
struct Undone<'a, C: Consumer>(&'a C);

impl<C: Consumer> Drop for Undone<'_, C> {
    fn drop(&mut self) {
        self.0.undone();
    }
}

async fn acknowledge<M>(part: &[Hand<M>]) {
    for hand in part {
        hand.delivery.ack().await;
    }
    failpoint::dies_at("consumer-after-ack");
}
