//! One instance: this test program itself, started with the name of one ignored test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream;
use events::topology::{ConsumerSpec, KITCHEN_DISPLAY};
use events::{Event, partition};
use messaging::{Consumer, Failure, Received, Settings, consumer};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testing::{Process, Signal, World, eventually};
use tokio::signal::unix::{SignalKind, signal};

use super::record;
use crate::recorder::runtime_with;

pub struct Instance {
    pub name: String,
    envs: Vec<(String, String)>,
    log: PathBuf,
    process: Process,
}

impl Instance {
    pub async fn start(world: &World, name: &str) -> Instance {
        let database = world.database_url(record::DATABASE).await;
        let envs = [("INSTANCE", name), ("DATABASE_URL", &database), ("NATS_URL", &world.nats_url())];
        let envs = envs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let log = folder.join(format!("{name}-{}.log", uuid::Uuid::new_v4().simple()));
        Instance { name: name.to_owned(), process: launch(&envs, &log), envs, log }
    }

    pub fn start_again(&mut self) {
        self.process = launch(&self.envs, &self.log);
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// A graceful stop.
    pub async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        eventually("the instance has ended", async || (!self.process.is_running()).then_some(())).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.name, self.process.log());
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

fn launch(envs: &[(String, String)], log: &Path) -> Process {
    let program = std::env::current_exe().unwrap();
    let test = concat!("ordering::instance::", "an_instance");
    let command = [program.to_str().unwrap(), "--exact", test, "--ignored", "--nocapture"];
    Process::start(&command, envs, "KILL", log)
}

#[tokio::test]
#[ignore = "not a test: it plays an instance of a consumer, and runs until it is stopped"]
async fn an_instance() {
    let Ok(name) = std::env::var("INSTANCE") else { return };
    let database: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse().unwrap();
    // A frozen process must not keep its partitions by an open transaction.
    let database = database.application_name(&name).options([("idle_in_transaction_session_timeout", "2s")]);
    let pool = PgPoolOptions::new().max_connections(16).connect_with(database).await.unwrap();
    let client = async_nats::connect(std::env::var("NATS_URL").unwrap()).await.unwrap();
    let settings = Settings {
        batch: 32,
        ack_wait: Duration::from_secs(2),
        handler_timeout: Duration::from_secs(60),
        lease: Duration::from_millis(1_500),
        ..Settings::default()
    };
    let runtime = runtime_with(jetstream::new(client), pool, &name, settings);
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
