//! The record of deliveries: one row for each event handled, written in the transaction of its claim.

use std::collections::{BTreeMap, BTreeSet};

use events::topology::KITCHEN_DISPLAY;
use events::{Event, PARTITIONS};
use messaging::Received;
use sqlx::{PgConnection, PgPool};
use testing::{World, eventually};

use crate::instance::Instance;

pub const DATABASE: &str = "ordering";

/// Waits at the instance's gate and writes one row for each event, with the instance that holds the partition
/// by the lease. The gate is an advisory lock: shared by the transactions that pass, taken whole by the test
/// that shuts it.
pub async fn write(
    tx: &mut PgConnection,
    instance: &str,
    partition: u32,
    batch: &[Received<Event>],
) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock_shared(hashtext($1))").bind(instance).execute(&mut *tx).await?;
    let orders: Vec<&str> = batch.iter().map(|event| event.order_id().as_str()).collect();
    let versions: Vec<i64> = batch.iter().map(|event| event.sequence.unwrap_or(0) as i64).collect();
    sqlx::query(
        "insert into record (order_id, version, instance, holder)
         select order_id, version, $3, (select holder from partition_leases where consumer = $4 and partition = $5)
         from unnest($1::text[], $2::bigint[]) with ordinality as handled (order_id, version, n) order by n",
    )
    .bind(orders)
    .bind(versions)
    .bind(instance)
    .bind(KITCHEN_DISPLAY.name)
    .bind(partition as i32)
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(Clone)]
pub struct Record {
    pool: PgPool,
}

impl Record {
    pub async fn open(world: &World) -> Record {
        let pool = world.database(DATABASE).await;
        messaging::migrations().run(&pool).await.unwrap();
        let schema = "create table record (at bigserial primary key, order_id text not null,
                                           version bigint not null, instance text not null, holder text)";
        sqlx::raw_sql(schema).execute(&pool).await.unwrap();
        Record { pool }
    }

    pub async fn count(&self) -> i64 {
        sqlx::query_scalar("select count(*) from record").fetch_one(&self.pool).await.unwrap()
    }

    /// Roughly the count, for little money.
    pub async fn progress(&self) -> i64 {
        sqlx::query_scalar("select coalesce(max(at), 0) from record").fetch_one(&self.pool).await.unwrap()
    }

    pub async fn count_of(&self, instance: &Instance) -> i64 {
        sqlx::query_scalar("select count(*) from record where instance = $1")
            .bind(&instance.name)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// How many partitions each instance holds right now.
    async fn shares(&self) -> BTreeMap<String, i64> {
        let shares: Vec<(String, i64)> = sqlx::query_as(
            "select holder, count(*) from partition_leases
             where holder is not null and expires_at > now() group by holder",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        shares.into_iter().collect()
    }

    pub async fn until_shared_by(&self, instances: &[Instance]) {
        let names: BTreeSet<&str> = instances.iter().map(|instance| instance.name.as_str()).collect();
        let fair = i64::from(PARTITIONS) / names.len() as i64;
        eventually(&format!("{names:?} share the partitions"), async || {
            let shares = self.shares().await;
            let all = shares.values().sum::<i64>() == i64::from(PARTITIONS);
            let fairly = shares.values().all(|share| *share >= fair);
            (all && fairly && shares.keys().map(String::as_str).eq(names.iter().copied())).then_some(())
        })
        .await;
    }

    pub async fn until_taken_over(&self, frozen: &Instance) {
        eventually(&format!("the others have what {} had", frozen.name), async || {
            let shares = self.shares().await;
            let all = shares.values().sum::<i64>() == i64::from(PARTITIONS);
            (all && !shares.contains_key(&frozen.name)).then_some(())
        })
        .await;
    }

    pub async fn until_all_have_worked(&self, instances: &[Instance]) {
        for instance in instances {
            let before = self.count_of(instance).await;
            eventually(&format!("{} works", instance.name), async || {
                (self.count_of(instance).await > before).then_some(())
            })
            .await;
        }
    }

    /// Does something to an instance while one of its transactions is open, its events claimed and not yet
    /// written.
    pub async fn in_the_middle_of_a_transaction(&self, instance: &Instance, act: impl FnOnce()) {
        let mut gate = self.pool.begin().await.unwrap();
        sqlx::query("select pg_advisory_xact_lock(hashtext($1))")
            .bind(&instance.name)
            .execute(&mut *gate)
            .await
            .unwrap();
        eventually(&format!("{} waits at the gate", instance.name), async || {
            let waiting = "select count(*) from pg_stat_activity
                           where application_name = $1 and wait_event = 'advisory' and datname = current_database()";
            let waiting: i64 =
                sqlx::query_scalar(waiting).bind(&instance.name).fetch_one(&self.pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        act();
        gate.rollback().await.unwrap();
    }

    /// Every delivery of the orders, in the order of their effects: exactly the versions that were
    /// published, each written by the holder of its partition.
    pub async fn assert_in_order(&self, orders: &[String], versions: i64) {
        let rows: Vec<(String, i64, String, Option<String>)> =
            sqlx::query_as("select order_id, version, instance, holder from record order by at")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for (order_id, version, instance, holder) in &rows {
            let previous = last.insert(order_id, *version).unwrap_or(0);
            assert_eq!(*version, previous + 1, "{order_id}, written by {instance}");
            assert_eq!(Some(instance), holder.as_ref(), "version {version} of {order_id}: not the holder");
        }
        assert_eq!(last.len(), orders.len());
        assert!(last.values().all(|last| *last == versions), "{versions} were published, recorded: {last:?}");
    }

    /// The names of the instances that wrote something.
    pub async fn writers(&self) -> Vec<String> {
        sqlx::query_scalar("select distinct instance from record order by instance")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}
