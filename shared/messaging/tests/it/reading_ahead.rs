//! What is read ahead while the batch before is at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events::Event;
use events::topology::{ConsumerSpec, KITCHEN_DISPLAY, LOYALTY};
use messaging::{Consumer, Failure, Received, Settings, consumer};
use sqlx::PgConnection;
use testing::{World, eventually};

use crate::recorder::{self, order, runtime_with, settings};

/// Needs something that is away for now.
struct Waiting(Arc<AtomicBool>);

impl Consumer for Waiting {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    async fn handle(&self, _: &mut PgConnection, _: &[Received<Event>]) -> Result<(), Failure> {
        match self.0.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Failure::Unavailable("the beans are away".into())),
        }
    }
}

/// The same for a partition, and writes down what it has done.
#[derive(Clone, Default)]
struct WaitingInOrder {
    are_back: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<u64>>>,
}

impl Consumer for WaitingInOrder {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &KITCHEN_DISPLAY;
    async fn handle(&self, _: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        if !self.are_back.load(Ordering::Relaxed) {
            return Err(Failure::Unavailable("the beans are away".into()));
        }
        self.done.lock().unwrap().extend(batch.iter().filter_map(|event| event.sequence));
        Ok(())
    }
}

#[tokio::test]
async fn what_is_read_ahead_stays_in_hand_while_others_wait() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..6 {
        world.publish_event(&order(&format!("ahead-{n}"))).await;
    }
    let settings = Settings { batch: 2, ..settings() };
    let ack_wait = settings.ack_wait;
    let runtime = runtime_with(world.jetstream().clone(), pool, "a", settings);
    let are_back = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(consumer::run(runtime.clone(), Waiting(Arc::clone(&are_back))));
    let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
    let standing = async || {
        let info = stream.consumer_info("loyalty").await.ok()?;
        Some((info.num_ack_pending, info.num_redelivered))
    };
    // Two batches are at work, and one is read ahead.
    eventually("all are delivered", async || (standing().await?.0 == 6).then_some(())).await;
    tokio::time::sleep(3 * ack_wait).await;
    assert_eq!(standing().await, Some((6, 0)));
    are_back.store(true, Ordering::Relaxed);
    eventually("all are done", async || (standing().await?.0 == 0).then_some(())).await;
    runtime.stop.cancel();
    reading.await.unwrap().unwrap();
}

/// Messages as large as anybody may publish are not all in memory because they are few.
#[tokio::test]
async fn a_reader_holds_a_few_large_messages_however_many_there_are() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    world.publish_event(&order("first-1")).await;
    let large = vec![b'x'; 300_000];
    for _ in 0..40 {
        world.publish("orders.created", &large).await;
    }
    let runtime = runtime_with(world.jetstream().clone(), pool.clone(), "a", settings());
    let are_back = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(consumer::run(runtime.clone(), Waiting(Arc::clone(&are_back))));
    let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
    let in_hand = async || Some(stream.consumer_info("loyalty").await.ok()?.num_ack_pending);
    eventually("it begins", async || in_hand().await.filter(|count| *count > 3)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(in_hand().await.unwrap() < 25, "{:?}", in_hand().await);
    are_back.store(true, Ordering::Relaxed);
    let letters =
        async || sqlx::query_scalar::<_, i64>("select count(*) from outbox").fetch_one(&pool).await.unwrap();
    eventually("all are buried", async || (letters().await == 40).then_some(())).await;
    runtime.stop.cancel();
    reading.await.unwrap().unwrap();
}

/// The last event waits for so long where nobody reads it yet that it comes again.
#[tokio::test]
async fn what_comes_again_overtakes_nothing_in_its_partition() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let runtime = runtime_with(world.jetstream().clone(), pool, "a", settings());
    let consumer = WaitingInOrder::default();
    let reading = tokio::spawn(consumer::run(runtime.clone(), consumer.clone()));
    let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
    let standing = async || {
        let (mut in_hand, mut again) = (0, 0);
        for (durable, _) in KITCHEN_DISPLAY.durables() {
            let info = stream.consumer_info(&durable).await.ok()?;
            (in_hand, again) = (in_hand + info.num_ack_pending, again + info.num_redelivered);
        }
        Some((in_hand, again))
    };
    for (sequence, pause) in [(1, 300), (2, 1_000), (3, 0)] {
        world.publish_event(&Event { sequence: Some(sequence), ..order("a-1") }).await;
        eventually("it is delivered", async || (standing().await?.0 == sequence as usize).then_some(()))
            .await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    eventually("the last comes again", async || (standing().await?.1 > 0).then_some(())).await;
    consumer.are_back.store(true, Ordering::Relaxed);
    eventually("all are done", async || (standing().await?.0 == 0).then_some(())).await;
    assert_eq!(*consumer.done.lock().unwrap(), [1, 2, 3]);
    runtime.stop.cancel();
    reading.await.unwrap().unwrap();
}
