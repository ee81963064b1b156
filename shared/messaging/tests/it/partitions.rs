use std::collections::HashMap;
use std::time::{Duration, Instant};

use events::{Event, OrderConfirmed};
use messaging::{Settings, consumer};
use sqlx::PgPool;
use testing::{World, eventually};

use crate::recorder::{self, OrderedRecorder, order, run, settings};

async fn holders(pool: &PgPool) -> HashMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select holder, count(*) from partition_leases where holder is not null and expires_at > now() group by holder",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

async fn wait_for_holders(pool: &PgPool, expected: &[(&str, i64)]) {
    let expected: HashMap<_, _> = expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    eventually("the partitions are shared out", async || (holders(pool).await == expected).then_some(()))
        .await;
}

/// Created is version 1, then `versions` confirmations of the same order: enough to see a wrong order.
async fn publish_history(world: &World, order_id: &str, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        let mut event = order(order_id);
        if version > 1 {
            let data = OrderConfirmed {
                order_id: order_id.to_owned().try_into().unwrap(),
                customer_id: "cust-456".to_owned().try_into().unwrap(),
            };
            event = Event::new(data, None);
        }
        event.sequence = Some(version);
        world.publish_event(&event).await;
    }
}

async fn assert_in_order(pool: &PgPool, orders: usize, versions: i64) {
    let seen = eventually("all effects are there", async || {
        let rows: Vec<(String, i64)> = sqlx::query_as("select order_id, sequence from effects order by at")
            .fetch_all(pool)
            .await
            .unwrap();
        (rows.len() >= orders * versions as usize).then_some(rows)
    })
    .await;
    let mut last: HashMap<String, i64> = HashMap::new();
    for (order_id, version) in seen {
        let previous = last.insert(order_id.clone(), version).unwrap_or(0);
        assert_eq!(version, previous + 1, "order {order_id}");
    }
    assert_eq!(last.len(), orders);
}

#[tokio::test]
async fn an_orders_events_stay_in_order_while_instances_come_go_and_die() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let first = run(&world, &pool, "a", OrderedRecorder);
    wait_for_holders(&pool, &[("a", 8)]).await;
    let orders: Vec<String> = (0..24).map(|n| format!("order-{n}")).collect();
    for order_id in &orders {
        publish_history(&world, order_id, 1..=5).await;
    }
    let second = run(&world, &pool, "b", OrderedRecorder);
    wait_for_holders(&pool, &[("a", 4), ("b", 4)]).await;
    for order_id in &orders {
        publish_history(&world, order_id, 6..=10).await;
    }
    // Killed with events in hand: aborting the task drops everything, as SIGKILL does.
    first.task.abort();
    for order_id in &orders {
        publish_history(&world, order_id, 11..=15).await;
    }
    first.stop.cancel();
    wait_for_holders(&pool, &[("b", 8)]).await;
    assert_in_order(&pool, orders.len(), 15).await;
    let third = run(&world, &pool, "c", OrderedRecorder);
    wait_for_holders(&pool, &[("b", 4), ("c", 4)]).await;
    second.stop().await;
    wait_for_holders(&pool, &[("c", 8)]).await;
    for order_id in &orders {
        publish_history(&world, order_id, 16..=17).await;
    }
    assert_in_order(&pool, orders.len(), 17).await;
    third.stop().await;
}

/// A transaction holds the lease under which it works, and keeps nobody from renewing this one and the others.
#[tokio::test]
async fn a_handler_that_takes_long_loses_no_lease() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let patient = Settings { handler_timeout: Duration::from_secs(20), ..settings() };
    let runtime = recorder::runtime_with(world.jetstream().clone(), pool.clone(), "a", patient);
    let lease = runtime.settings.lease;
    let task = tokio::spawn(consumer::run(runtime, OrderedRecorder));
    wait_for_holders(&pool, &[("a", 8)]).await;
    world.publish_event(&order("hanging-1")).await;
    eventually("the handler hangs", async || {
        let hangs = "select exists (select from pg_stat_activity
                                    where datname = current_database() and state = 'idle in transaction')";
        sqlx::query_scalar::<_, bool>(hangs).fetch_one(&pool).await.unwrap().then_some(())
    })
    .await;
    let since = Instant::now();
    while since.elapsed() < 2 * lease {
        assert_eq!(holders(&pool).await, HashMap::from([("a".to_owned(), 8)]));
        tokio::time::sleep(lease / 10).await;
    }
    task.abort();
}

#[tokio::test]
async fn an_instance_that_lost_its_lease_writes_nothing_more() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", OrderedRecorder);
    wait_for_holders(&pool, &[("a", 8)]).await;
    // Somebody else took over while this one was paused.
    sqlx::query("update partition_leases set holder = 'b', expires_at = now() + interval '3 seconds'")
        .execute(&pool)
        .await
        .unwrap();
    for n in 0..20 {
        world.publish_event(&order(&format!("order-{n}"))).await;
    }
    let first_effect = eventually("the lease has run out and the events are processed", async || {
        let held_by_b: i64 = sqlx::query_scalar(
            "select count(*) from partition_leases where holder = 'b' and expires_at > now()",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        let effects: i64 = sqlx::query_scalar("select count(*) from effects").fetch_one(&pool).await.unwrap();
        assert!(held_by_b == 0 || effects == 0, "an effect was written without the lease");
        (effects == 20).then_some(effects)
    })
    .await;
    assert_eq!(first_effect, 20);
    running.stop().await;
}
