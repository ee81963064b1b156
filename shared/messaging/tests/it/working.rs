//! Workers, which do their tasks side by side and outside of any transaction.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::Event;
use events::topology::{ConsumerSpec, LOYALTY};
use messaging::{Failure, Received, Worker, worker};
use testing::{World, eventually};

use crate::recorder::{self, order, runtime};

/// Never finishes anything.
struct Hanging;

impl Worker for Hanging {
    type Task = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    const TIMEOUT: Duration = Duration::from_secs(60);
    async fn work(&self, _: &Received<Event>) -> Result<(), Failure> {
        pending().await
    }
}

/// Writes down how many tasks, itself included, were at work when one had ended.
#[derive(Default)]
struct Counting {
    at_work: AtomicUsize,
    seen: Mutex<BTreeMap<String, usize>>,
}

impl Worker for &'static Counting {
    type Task = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    const TIMEOUT: Duration = Duration::from_secs(60);
    async fn work(&self, task: &Received<Event>) -> Result<(), Failure> {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.seen.lock().unwrap().insert(task.order_id().to_string(), self.at_work.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn tasks_that_come_again_are_tried_together_and_alone_if_they_were_tried_before() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let tasks: Vec<Event> =
        ["a", "b", "c", "d", "tried"].iter().map(|id| order(&format!("{id}-1"))).collect();
    for task in &tasks {
        world.publish_event(task).await;
    }
    let dying = tokio::spawn(worker::run(runtime(&world, &pool, "dying"), Hanging));
    eventually("all are in hand", async || {
        let info =
            world.jetstream().get_stream("ORDERS").await.unwrap().consumer_info("loyalty").await.ok()?;
        (info.num_ack_pending == tasks.len()).then_some(())
    })
    .await;
    dying.abort();
    sqlx::query("insert into attempts (consumer, event_id, attempts) values ('loyalty', $1, 1)")
        .bind(tasks[4].id.as_str())
        .execute(&pool)
        .await
        .unwrap();

    let counting: &'static Counting = Box::leak(Box::default());
    let living = runtime(&world, &pool, "living");
    let working = tokio::spawn(worker::run(living.clone(), counting));
    let seen = eventually("all are done", async || {
        let seen = counting.seen.lock().unwrap().clone();
        (seen.len() == tasks.len()).then_some(seen)
    })
    .await;
    living.stop.cancel();
    working.await.unwrap().unwrap();

    assert_eq!(seen["tried-1"], 1, "{seen:?}");
    assert!(["a-1", "b-1", "c-1", "d-1"].iter().all(|id| seen[*id] == 4), "{seen:?}");
    let noted: i64 = sqlx::query_scalar("select count(*) from attempts").fetch_one(&pool).await.unwrap();
    assert_eq!(noted, 0);
}
