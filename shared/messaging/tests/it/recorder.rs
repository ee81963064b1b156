//! A consumer that writes down what it processed, and misbehaves when the order's id says so.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::Context;
use events::topology::{ConsumerSpec, KITCHEN_DISPLAY, LOYALTY, PAYMENT};
use events::{Cents, Event, Item, OrderCreated};
use messaging::relay::Relay;
use messaging::{Consumer, Failure, Kept, Received, Runtime, Settings, consumer};
use sqlx::{PgConnection, PgPool};
use testing::World;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Recorder;
pub struct OtherRecorder;
pub struct OrderedRecorder;

impl Consumer for Recorder {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        record(Self::SPEC.name, tx, batch).await
    }
}

impl Consumer for OtherRecorder {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &PAYMENT;
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        record(Self::SPEC.name, tx, batch).await
    }
}

impl Consumer for OrderedRecorder {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &KITCHEN_DISPLAY;
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        record(Self::SPEC.name, tx, batch).await
    }
}

/// Puts by what it has handled, for when it is committed.
#[derive(Clone, Default)]
pub struct PuttingBy {
    put_by: Arc<Mutex<Vec<String>>>,
    pub committed: Arc<Mutex<Vec<String>>>,
}

impl Consumer for PuttingBy {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        self.put_by.lock().unwrap().extend(batch.iter().map(|event| event.order_id().to_string()));
        record(Self::SPEC.name, tx, batch).await
    }
    fn committed(&self) {
        self.committed.lock().unwrap().append(&mut self.put_by.lock().unwrap());
    }
    fn undone(&self) {
        self.put_by.lock().unwrap().clear();
    }
}

/// The effects come first, so that a failure has something to undo.
async fn record(consumer: &str, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
    for event in batch {
        sqlx::query("insert into effects (consumer, order_id, event_id, sequence) values ($1, $2, $3, $4)")
            .bind(consumer)
            .bind(event.order_id().as_str())
            .bind(event.id.as_str())
            .bind(event.sequence.map(|sequence| sequence as i64))
            .execute(&mut *tx)
            .await?;
        match event.order_id().as_str().split('-').next().unwrap() {
            "failing" => return Err("the oven is cold".into()),
            "hopeless" => return Err(Failure::Reject("nobody drinks this".into())),
            "panicking" => panic!("spilled the milk"),
            "hanging" => std::future::pending().await,
            "locked" => {
                sqlx::raw_sql("set local lock_timeout = 50; lock table mended").execute(&mut *tx).await?;
            }
            "mended" => {
                let mended: bool =
                    sqlx::query_scalar("select exists (select from mended)").fetch_one(&mut *tx).await?;
                if !mended {
                    return Err(Failure::Reject("not yet mended".into()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

pub async fn database(world: &World) -> PgPool {
    let pool = world.database("recorder").await;
    messaging::migrations().run(&pool).await.unwrap();
    let schema = "create table effects (at bigint generated always as identity, consumer text, order_id text,
                                        event_id text, sequence bigint);
                  create table mended (at timestamptz)";
    sqlx::raw_sql(schema).execute(&pool).await.unwrap();
    pool
}

/// Impatient, so that tests of failure are short.
pub fn settings() -> Settings {
    Settings {
        ack_wait: Duration::from_millis(600),
        handler_timeout: Duration::from_millis(300),
        max_attempts: 3,
        first_retry: Duration::from_millis(10),
        lease: Duration::from_millis(1_200),
        ..Settings::default()
    }
}

pub struct Running {
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), messaging::streams::SetupError>>,
}

impl Running {
    /// As SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub fn runtime(world: &World, pool: &PgPool, instance: &str) -> Arc<Runtime> {
    runtime_with(world.jetstream().clone(), pool.clone(), instance, settings())
}

pub fn runtime_with(jetstream: Context, pool: PgPool, instance: &str, settings: Settings) -> Arc<Runtime> {
    Arc::new(Runtime {
        jetstream,
        kept: Arc::new(Kept::new(pool.clone())),
        pool,
        settings,
        instance: instance.to_owned(),
        outbox_written: Arc::new(Notify::new()),
        counters: Default::default(),
        suspicion: Default::default(),
        stop: CancellationToken::new(),
    })
}

/// A consumer, and the relay that its dead letters need.
pub fn run<C: Consumer>(world: &World, pool: &PgPool, instance: &str, consumer: C) -> Running {
    let runtime = runtime(world, pool, instance);
    let relay = relay(world, pool, runtime.stop.clone());
    tokio::spawn(async move { relay.run().await.unwrap() });
    Running { stop: runtime.stop.clone(), task: tokio::spawn(consumer::run(runtime, consumer)) }
}

pub fn relay(world: &World, pool: &PgPool, stop: CancellationToken) -> Relay {
    relay_with(world.jetstream().clone(), pool, stop)
}

pub fn relay_with(jetstream: Context, pool: &PgPool, stop: CancellationToken) -> Relay {
    Relay {
        pool: pool.clone(),
        jetstream,
        source: "order-api".into(),
        outbox_written: Arc::new(Notify::new()),
        settings: settings(),
        stop,
    }
}

pub fn order(order_id: &str) -> Event {
    let item = Item { name: "Latte".into(), sku: None, price: Cents(450), quantity: 1 };
    let order = OrderCreated {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: None,
        items: vec![item],
        total: Cents(450),
    };
    Event::new(order, Some(1))
}

/// The orders processed so far, in the order of their effects.
pub async fn effects(pool: &PgPool, consumer: &str) -> Vec<String> {
    sqlx::query_scalar("select order_id from effects where consumer = $1 order by at")
        .bind(consumer)
        .fetch_all(pool)
        .await
        .unwrap()
}

pub async fn wait_for_effects(pool: &PgPool, consumer: &str, count: usize) -> Vec<String> {
    testing::eventually("the effects are there", async || {
        let effects = effects(pool, consumer).await;
        (effects.len() >= count).then_some(effects)
    })
    .await
}
