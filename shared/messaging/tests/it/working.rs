//! Workers, which do their tasks side by side and outside of any transaction.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::Event;
use events::topology::{ConsumerSpec, LOYALTY};
use messaging::{Failure, Received, Worker, worker};
use sqlx::PgPool;
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

impl Counting {
    fn new(room: usize) -> &'static Counting {
        Box::leak(Box::new(Counting { room, at_work: AtomicUsize::default(), seen: Mutex::default() }))
    }
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

/// Fails at what fails, never finishes what hangs, and writes down what it was given.
#[derive(Default)]
struct Stumbling(Mutex<Vec<String>>);

impl Worker for &'static Stumbling {
    type Task = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    const TIMEOUT: Duration = Duration::from_secs(60);
    async fn work(&self, task: &Received<Event>) -> Result<(), Failure> {
        let order = task.order_id().to_string();
        self.0.lock().unwrap().push(order.clone());
        match order.as_str() {
            "failing-1" => Err(Failure::Retry("no stamps".into())),
            "hanging-1" => pending().await,
            _ => Ok(()),
        }
    }
}

impl Stumbling {
    fn new() -> &'static Stumbling {
        Box::leak(Box::default())
    }
}

/// Tasks that are not acknowledged, in hand or not.
async fn unsettled(world: &World) -> Option<(usize, u64)> {
    let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
    let info = stream.consumer_info("loyalty").await.ok()?;
    Some((info.num_ack_pending, info.num_pending))
}

async fn noted(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from attempts").fetch_one(pool).await.unwrap()
}

/// Has a process die with one task for each of the orders in hand.
async fn die_with(world: &World, pool: &PgPool, orders: &[&str]) -> Vec<Event> {
    let tasks: Vec<Event> = orders.iter().map(|id| order(id)).collect();
    for task in &tasks {
        world.publish_event(task).await;
    }
    let dying = tokio::spawn(worker::run(runtime(world, pool, "dying"), Hanging));
    let all = Some((tasks.len(), 0));
    eventually("all are in hand", async || (unsettled(world).await == all).then_some(())).await;
    dying.abort();
    tasks
}

/// All of the orders come again. Those of `tried` were tried since. Returns what the next process sees.
async fn come_again(orders: &[&str], tried: &[&str], room: usize) -> BTreeMap<String, usize> {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let tasks = die_with(&world, &pool, orders).await;
    for task in tasks.iter().filter(|task| tried.contains(&task.order_id().as_str())) {
        let note =
            sqlx::query("insert into attempts (consumer, event_id, attempts) values ('loyalty', $1, 1)");
        note.bind(task.id.as_str()).execute(&pool).await.unwrap();
    }

    let counting = Counting::new(room);
    let living = runtime(&world, &pool, "living");
    let working = tokio::spawn(worker::run(living.clone(), counting));
    let seen = eventually("all are done", async || {
        let seen = counting.seen.lock().unwrap().clone();
        (seen.len() == tasks.len()).then_some(seen)
    })
    .await;
    living.stop.cancel();
    working.await.unwrap().unwrap();
    assert_eq!(noted(&pool).await, 0, "what is done is forgotten");
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

#[tokio::test]
async fn a_death_in_the_midst_of_suspects_leaves_no_note_of_what_was_done() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    die_with(&world, &pool, &["a-1", "b-1", "hanging-1"]).await;
    let stumbling = Stumbling::new();
    let dying = tokio::spawn(worker::run(runtime(&world, &pool, "dying-too"), stumbling));
    let tried = async || (stumbling.0.lock().unwrap().len() == 3).then_some(());
    eventually("all are tried", tried).await;
    dying.abort();
    assert_eq!(noted(&pool).await, 3);

    let living = runtime(&world, &pool, "living");
    let working = tokio::spawn(worker::run(living.clone(), Counting::new(32)));
    eventually("all are done", async || (unsettled(&world).await == Some((0, 0))).then_some(())).await;
    living.stop.cancel();
    working.await.unwrap().unwrap();
    assert_eq!(noted(&pool).await, 0);
}

#[tokio::test]
async fn a_task_is_tried_as_often_as_its_letter_says() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let stumbling = Stumbling::new();
    let runtime = runtime(&world, &pool, "a");
    let working = tokio::spawn(worker::run(runtime.clone(), stumbling));
    world.publish_event(&order("failing-1")).await;
    eventually("it is given up", async || {
        (runtime.counters.buried.load(Ordering::Relaxed) == 1).then_some(())
    })
    .await;
    runtime.stop.cancel();
    working.await.unwrap().unwrap();
    let headers = "select convert_from(headers, 'UTF8') from outbox where event_type = 'DeadLetter'";
    let headers: String = sqlx::query_scalar(headers).fetch_one(&pool).await.unwrap();
    assert!(headers.contains(r#"["Dead-Letter-Attempts","3"]"#), "{headers}");
    assert_eq!(stumbling.0.lock().unwrap().len(), 3);
    assert_eq!(noted(&pool).await, 0);
}
