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

/// Takes so many tasks at once and no more; writes down how many were at work when one was.
struct Counting {
    room: usize,
    at_work: AtomicUsize,
    seen: Mutex<BTreeMap<String, usize>>,
}

impl Worker for &'static Counting {
    type Task = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    const TIMEOUT: Duration = Duration::from_secs(60);
    async fn work(&self, task: &Received<Event>) -> Result<(), Failure> {
        if self.at_work.load(Ordering::Relaxed) == self.room {
            return Err(Failure::Unavailable("no room".into()));
        }
        self.at_work.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.seen.lock().unwrap().insert(task.order_id().to_string(), self.at_work.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.at_work.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Has a process die with one task for each of the orders in hand, all of which come again. Those of `tried` were tried since.
/// Returns what the next process sees.
async fn come_again(orders: &[&str], tried: &[&str], room: usize) -> BTreeMap<String, usize> {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let tasks: Vec<Event> = orders.iter().map(|id| order(id)).collect();
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
    for task in tasks.iter().filter(|task| tried.contains(&task.order_id().as_str())) {
        let note =
            sqlx::query("insert into attempts (consumer, event_id, attempts) values ('loyalty', $1, 1)");
        note.bind(task.id.as_str()).execute(&pool).await.unwrap();
    }

    let counting = Counting { room, at_work: AtomicUsize::default(), seen: Mutex::default() };
    let counting: &'static Counting = Box::leak(Box::new(counting));
    let living = runtime(&world, &pool, "living");
    let working = tokio::spawn(worker::run(living.clone(), counting));
    let seen = eventually("all are done", async || {
        let seen = counting.seen.lock().unwrap().clone();
        (seen.len() == tasks.len()).then_some(seen)
    })
    .await;
    living.stop.cancel();
    working.await.unwrap().unwrap();
    let noted: i64 = sqlx::query_scalar("select count(*) from attempts").fetch_one(&pool).await.unwrap();
    assert_eq!(noted, 0, "what is done is forgotten");
    seen
}

#[tokio::test]
async fn tasks_that_come_again_are_tried_together_and_alone_if_they_were_tried_before() {
    let seen = come_again(&["a-1", "b-1", "c-1", "d-1", "tried-1"], &["tried-1"], 32).await;
    assert_eq!(seen["tried-1"], 1, "{seen:?}");
    assert!(["a-1", "b-1", "c-1", "d-1"].iter().all(|id| seen[*id] == 4), "{seen:?}");
}

#[tokio::test]
async fn a_narrow_outside_takes_as_many_as_it_can_each_time() {
    let seen = come_again(&["a-1", "b-1", "c-1", "d-1", "e-1", "f-1"], &[], 2).await;
    assert!(seen.values().all(|at_work| *at_work == 2), "{seen:?}");
}
