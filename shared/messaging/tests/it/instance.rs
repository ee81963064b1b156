//! A service that is nothing but a consumer, as a process of its own: this test program itself, started with
//! the name of one ignored test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testing::{Process, Signal, World, eventually};

pub struct Instance {
    pub name: String,
    plays: &'static str,
    envs: Vec<(String, String)>,
    log: PathBuf,
    process: Process,
}

impl Instance {
    /// `plays` is the full name of the ignored test.
    pub async fn start(world: &World, database: &str, name: &str, plays: &'static str) -> Instance {
        let database = world.database_url(database).await;
        let envs = [("INSTANCE", name), ("DATABASE_URL", &database), ("NATS_URL", &world.nats_url())];
        let envs = envs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let log = folder.join(format!("{name}-{}.log", uuid::Uuid::new_v4().simple()));
        let process = launch(plays, &envs, &log);
        Instance { name: name.to_owned(), plays, envs, log, process }
    }

    pub fn start_again(&mut self) {
        self.process = launch(self.plays, &self.envs, &self.log);
    }

    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// A graceful stop.
    pub async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        eventually("the instance has ended", async || (!self.is_running()).then_some(())).await;
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

fn launch(plays: &str, envs: &[(String, String)], log: &Path) -> Process {
    let program = std::env::current_exe().unwrap();
    let command = [program.to_str().unwrap(), "--exact", plays, "--ignored", "--nocapture"];
    Process::start(&command, envs, "KILL", log)
}

/// What an instance finds in its environment: its name, its database and the broker. `None` when the test
/// was run by hand.
pub async fn environment() -> Option<(String, PgPool, Context)> {
    let name = std::env::var("INSTANCE").ok()?;
    let database: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse().unwrap();
    // A frozen process must not keep its partitions by an open transaction.
    let database = database.application_name(&name).options([("idle_in_transaction_session_timeout", "2s")]);
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(20))
        .connect_with(database)
        .await
        .unwrap();
    let (options, servers) = messaging::broker::parse(&std::env::var("NATS_URL").unwrap()).unwrap();
    let client = options.connect(servers).await.unwrap();
    Some((name, pool, jetstream::new(client)))
}
