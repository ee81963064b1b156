//! An event that kills every process that handles it, and the process that is started again each time.

use std::collections::BTreeSet;
use std::time::Duration;

use events::Event;
use events::topology::{ConsumerSpec, KITCHEN_DISPLAY, LOYALTY};
use messaging::dead_letter::DeadLetter;
use messaging::{Consumer, Failure, Received, Settings, consumer};
use sqlx::PgConnection;
use testing::{World, eventually};

use crate::instance::{Instance, environment};
use crate::recorder::{self, OrderedRecorder, Recorder, effects, order, relay_with, runtime_with, settings};

struct Mortal;
struct MortalInOrder;

impl Consumer for Mortal {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        Recorder.handle(tx, batch).await?;
        die_of(batch);
        Ok(())
    }
}

impl Consumer for MortalInOrder {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &KITCHEN_DISPLAY;
    /// Good events take longer than the deadly one: those of other partitions are never done when it strikes.
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        OrderedRecorder.handle(tx, batch).await?;
        sqlx::query("select pg_sleep(0.05)").execute(&mut *tx).await?;
        die_of(batch);
        sqlx::query("select pg_sleep(0.15)").execute(&mut *tx).await?;
        Ok(())
    }
}

fn die_of(batch: &[Received<Event>]) {
    if batch.iter().any(|event| event.order_id().as_str().starts_with("deadly-")) {
        std::process::abort();
    }
}

#[tokio::test]
#[ignore = "not a test: it plays a service, and runs until it is stopped"]
async fn a_service() {
    serve(Mortal).await
}

#[tokio::test]
#[ignore = "not a test: it plays a service, and runs until it is stopped"]
async fn a_service_in_order() {
    serve(MortalInOrder).await
}

async fn serve(mortal: impl Consumer) {
    let Some((name, pool, jetstream)) = environment().await else { return };
    let patient = Settings { handler_timeout: Duration::from_secs(4), ..settings() };
    let runtime = runtime_with(jetstream.clone(), pool.clone(), &name, patient);
    let relay = relay_with(jetstream, &pool, runtime.stop.clone());
    tokio::spawn(async move { relay.run().await.unwrap() });
    consumer::run(runtime, mortal).await.unwrap();
}

/// The letter, and how often the service died before it was written.
async fn watch_it_die(world: &World, service: &mut Instance) -> (DeadLetter, u32) {
    let mut deaths = 0;
    let letter = eventually("the cause is buried", async || {
        if !service.is_running() {
            deaths += 1;
            service.start_again();
        }
        world.dead_letters().await.pop()
    })
    .await;
    (letter, deaths)
}

/// The broker's delivery count rises for every event that a dying process had fetched. Only the one that
/// killed it may be buried.
#[tokio::test]
async fn a_crash_loop_ends_with_the_burial_of_its_cause_and_the_consumer_goes_on() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..10 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    world.publish_event(&order("deadly-1")).await;
    for n in 10..20 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    let mut service = Instance::start(&world, "recorder", "mortal", "crash_loop::a_service").await;
    let (letter, deaths) = watch_it_die(&world, &mut service).await;
    // In the batch first, then as often as an event may be tried alone.
    assert_eq!(deaths, 1 + settings().max_attempts, "{letter:?}");
    assert_eq!(letter.attempts, settings().max_attempts);
    assert!(letter.reason.contains("the process died or hung"), "{}", letter.reason);

    world.publish_event(&order("good-20")).await;
    recorder::wait_for_effects(&pool, "loyalty", 21).await;
    let effects = effects(&pool, "loyalty").await;
    assert_eq!(effects.len(), 21, "{effects:?}");
    assert_eq!(BTreeSet::from_iter(&effects).len(), 21, "{effects:?}");
    assert_eq!(world.dead_letters().await.len(), 1);
    assert!(service.is_running());
}

/// The partitions of one process are read at the same time, and a dying process takes all of them along.
#[tokio::test]
async fn a_crash_loop_in_one_partition_buries_nothing_in_the_others() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..20 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    world.publish_event(&order("deadly-1")).await;
    let mut service = Instance::start(&world, "recorder", "mortal", "crash_loop::a_service_in_order").await;
    let (letter, deaths) = watch_it_die(&world, &mut service).await;
    assert!(letter.reason.contains("the process died or hung"), "{}", letter.reason);
    assert_eq!(deaths, 1 + settings().max_attempts, "{letter:?}");
    recorder::wait_for_effects(&pool, "kitchen-display", 20).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
}
