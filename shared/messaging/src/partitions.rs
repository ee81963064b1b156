//! One reader at a time for each partition, with failover. A partition belongs to an instance by a lease in
//! the consumer's own database. Every transaction locks the lease row it works under (a fencing token, see
//! <https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html>), so an instance that was
//! paused past its lease cannot write any more, whatever it believes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use events::PARTITIONS;
use sqlx::{PgConnection, PgPool};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::consumer::{Consumer, Reader, Runtime};
use crate::streams::SetupError;
use crate::{bounded, instances};

/// Whether `instance` still holds the lease. The row stays locked until the transaction ends, so a
/// successor cannot start before; renewing the lease is not held up by this lock, which is the weakest there is
/// (<https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS>).
pub async fn holds(
    tx: &mut PgConnection,
    consumer: &str,
    partition: u32,
    instance: &str,
) -> Result<bool, sqlx::Error> {
    let row: Option<i32> = sqlx::query_scalar(
        "select partition from partition_leases
         where consumer = $1 and partition = $2 and holder = $3 for key share",
    )
    .bind(consumer)
    .bind(partition as i32)
    .bind(instance)
    .fetch_optional(tx)
    .await?;
    Ok(row.is_some())
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), SetupError>>,
}

impl Running {
    /// Finishes what is in hand.
    async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// Reads as many partitions as are this instance's share, and hands some over when others arrive.
pub async fn read_my_share<C: Consumer>(runtime: Arc<Runtime>, consumer: Arc<C>) -> Result<(), SetupError> {
    let mut running: HashMap<u32, Running> = HashMap::new();
    while !runtime.stop.is_cancelled() {
        match bounded(balance(&runtime, C::SPEC.name)).await {
            Ok(Balance { mine, claimed, surplus }) => {
                for (_, lost) in running.extract_if(|partition, _| !mine.contains(partition)) {
                    lost.stop.cancel();
                }
                if let Some(conflict) = take_failure(&mut running).await {
                    return Err(conflict);
                }
                for former in claimed.iter().filter_map(|partition| running.remove(partition)) {
                    former.end().await;
                }
                for partition in mine.iter().copied() {
                    running.entry(partition).or_insert_with(|| start(&runtime, &consumer, partition));
                }
                for partition in mine.iter().rev().take(surplus).copied() {
                    give_up(&runtime, C::SPEC.name, partition, running.remove(&partition)).await;
                }
            }
            Err(error) => {
                tracing::warn!(consumer = C::SPEC.name, %error, "cannot renew the partition leases")
            }
        }
        tokio::select! {
            () = runtime.stop.cancelled() => {}
            () = tokio::time::sleep(runtime.settings.lease / 4) => {}
        }
    }
    for (partition, reader) in running {
        give_up(&runtime, C::SPEC.name, partition, Some(reader)).await;
    }
    Ok(())
}

fn start<C: Consumer>(runtime: &Arc<Runtime>, consumer: &Arc<C>, partition: u32) -> Running {
    tracing::info!(consumer = C::SPEC.name, partition, "reading this partition now");
    let stop = runtime.stop.child_token();
    let reader = Reader::new(Arc::clone(runtime), Arc::clone(consumer), Some(partition), stop.clone());
    Running { stop, task: tokio::spawn(async move { reader.run().await }) }
}

/// Forgets readers that ended by themselves, so that they are started again; a conflict is for a person.
async fn take_failure(running: &mut HashMap<u32, Running>) -> Option<SetupError> {
    for (_, ended) in running.extract_if(|_, reader| reader.task.is_finished()) {
        if let Ok(Err(conflict @ SetupError::Conflict(_))) = ended.task.await {
            return Some(conflict);
        }
    }
    None
}

/// Finishes what is in hand before letting go, so that the successor finds nothing half done.
async fn give_up(runtime: &Runtime, consumer: &str, partition: u32, reader: Option<Running>) {
    if let Some(reader) = reader {
        reader.end().await;
    }
    let released = bounded(release(&runtime.pool, consumer, partition, &runtime.instance));
    if let Err(error) = released.await {
        tracing::warn!(consumer, partition, %error, "could not release the partition; its lease will run out");
    }
}

struct Balance {
    mine: BTreeSet<u32>,
    /// Those that are new. If one of them still has a reader here, others have read it in between.
    claimed: Vec<u32>,
    /// How many of them are more than this instance's share.
    surplus: usize,
}

async fn balance(runtime: &Runtime, consumer: &str) -> Result<Balance, sqlx::Error> {
    let (pool, instance) = (&runtime.pool, &runtime.instance);
    let lease = runtime.settings.lease.as_secs_f64();
    instances::beat(runtime, consumer).await?;
    let alive: i64 = sqlx::query_scalar(
        "select count(*) from consumer_instances
         where consumer = $1 and seen_at > now() - make_interval(secs => $2)",
    )
    .bind(consumer)
    .bind(lease)
    .fetch_one(pool)
    .await?;
    let share = (PARTITIONS as usize).div_ceil(alive.max(1) as usize);
    let mut mine: BTreeSet<u32> = renew(pool, consumer, instance, lease).await?.collect();
    let mut claimed = Vec::new();
    if mine.len() < share {
        claimed.extend(claim_free(pool, consumer, instance, lease, share - mine.len()).await?);
        mine.extend(&claimed);
    }
    let surplus = mine.len().saturating_sub(share);
    Ok(Balance { mine, claimed, surplus })
}

async fn renew(
    pool: &PgPool,
    consumer: &str,
    instance: &str,
    lease: f64,
) -> Result<impl Iterator<Item = u32>, sqlx::Error> {
    let held: Vec<i32> = sqlx::query_scalar(
        "update partition_leases set expires_at = now() + make_interval(secs => $3)
         where consumer = $1 and holder = $2 returning partition",
    )
    .bind(consumer)
    .bind(instance)
    .bind(lease)
    .fetch_all(pool)
    .await?;
    Ok(held.into_iter().map(i32::unsigned_abs))
}

async fn claim_free(
    pool: &PgPool,
    consumer: &str,
    instance: &str,
    lease: f64,
    wanted: usize,
) -> Result<impl Iterator<Item = u32>, sqlx::Error> {
    sqlx::query(
        "insert into partition_leases (consumer, partition) select $1, generate_series(0, $2 - 1)
         on conflict do nothing",
    )
    .bind(consumer)
    .bind(PARTITIONS as i32)
    .execute(pool)
    .await?;
    let claimed: Vec<i32> = sqlx::query_scalar(
        "update partition_leases set holder = $2, expires_at = now() + make_interval(secs => $3)
         where consumer = $1 and partition in (
             select partition from partition_leases where consumer = $1 and expires_at < now()
             order by partition limit $4 for update skip locked)
         returning partition",
    )
    .bind(consumer)
    .bind(instance)
    .bind(lease)
    .bind(wanted as i64)
    .fetch_all(pool)
    .await?;
    Ok(claimed.into_iter().map(i32::unsigned_abs))
}

async fn release(pool: &PgPool, consumer: &str, partition: u32, instance: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update partition_leases set holder = null, expires_at = 'epoch'
         where consumer = $1 and partition = $2 and holder = $3",
    )
    .bind(consumer)
    .bind(partition as i32)
    .bind(instance)
    .execute(pool)
    .await?;
    Ok(())
}
