//! What is read ahead while the batch before is at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use events::Event;
use events::topology::{ConsumerSpec, LOYALTY};
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
