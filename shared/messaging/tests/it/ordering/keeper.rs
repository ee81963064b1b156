//! The consumer under test, and the process that runs it.

use std::time::Duration;

use events::topology::{ConsumerSpec, KITCHEN_DISPLAY};
use events::{Event, partition};
use messaging::{Consumer, Failure, Received, Settings, consumer};
use sqlx::PgConnection;
use testing::World;
use tokio::signal::unix::{SignalKind, signal};

use super::record;
use crate::instance::{Instance, environment};
use crate::recorder::runtime_with;

pub async fn start(world: &World, name: &str) -> Instance {
    Instance::start(world, record::DATABASE, name, "ordering::keeper::an_instance").await
}

#[tokio::test]
#[ignore = "not a test: it plays an instance of a consumer, and runs until it is stopped"]
async fn an_instance() {
    let Some((name, pool, jetstream)) = environment().await else { return };
    let settings = Settings {
        batch: 32,
        ack_wait: Duration::from_secs(2),
        handler_timeout: Duration::from_secs(60),
        lease: Duration::from_millis(1_500),
        ..Settings::default()
    };
    let runtime = runtime_with(jetstream, pool, &name, settings);
    let stop = runtime.stop.clone();
    let mut told_to_stop = signal(SignalKind::terminate()).unwrap();
    tokio::spawn(async move {
        told_to_stop.recv().await;
        stop.cancel();
    });
    consumer::run(runtime, Keeper { instance: name }).await.unwrap();
}

/// Puts every event it handles on record.
struct Keeper {
    instance: String,
}

impl Consumer for Keeper {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &KITCHEN_DISPLAY;

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        record::write(tx, &self.instance, partition(batch[0].order_id()), batch).await?;
        Ok(())
    }
}
