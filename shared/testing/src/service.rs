//! One service under test: the real binary with a real environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sqlx::PgPool;

use crate::process::{Process, free_port};
use crate::{STAFF_TOKEN, eventually};

pub struct ServiceBuilder {
    name: String,
    binary: PathBuf,
    log: PathBuf,
    database_url: String,
    envs: Vec<(String, String)>,
}

impl ServiceBuilder {
    pub(crate) fn new(
        name: &str,
        binary: &Path,
        log: PathBuf,
        database_url: String,
        nats_url: Option<String>,
    ) -> Self {
        let envs = [
            ("DATABASE_URL", database_url.clone()),
            ("STAFF_TOKEN", STAFF_TOKEN.to_owned()),
            ("INSTANCE", name.to_owned()),
            ("RUST_LOG", "debug,async_nats=info,hyper=info,sqlx=info".to_owned()),
            // Impatient, so that tests of failure are short.
            ("CONSUMER_FIRST_RETRY_MS", "20".to_owned()),
            ("CONSUMER_ACK_WAIT_MS", "2000".to_owned()),
            ("CONSUMER_HANDLER_TIMEOUT_MS", "1500".to_owned()),
        ];
        let nats_url = nats_url.map(|url| ("NATS_URL", url));
        let envs = envs.into_iter().chain(nats_url).map(|(name, value)| (name.to_owned(), value)).collect();
        ServiceBuilder { name: name.to_owned(), binary: binary.to_owned(), log, database_url, envs }
    }

    /// Overrides what the test would set.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.retain(|(existing, _)| existing != name);
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(self) -> Service {
        let mut service = self.start_unready();
        service.ready().await;
        service
    }

    /// Starts the process and does not wait.
    pub fn start_unready(mut self) -> Service {
        let port = free_port();
        self.envs.push(("HTTP_ADDR".to_owned(), format!("127.0.0.1:{port}")));
        let pool = PgPool::connect_lazy(&self.database_url).unwrap();
        let mut service = Service { setup: self, port, pool, process: None };
        service.launch();
        service
    }
}

pub struct Service {
    setup: ServiceBuilder,
    port: u16,
    pool: PgPool,
    process: Option<Process>,
}

impl Service {
    pub fn name(&self) -> &str {
        &self.setup.name
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its database.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub fn pid(&self) -> i32 {
        self.process.as_ref().expect("the service was started").pid()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.setup.log).unwrap_or_default()
    }

    /// SIGKILL: no chance to finish anything.
    pub async fn kill(&mut self) {
        self.end(Signal::KILL).await;
    }

    /// SIGTERM: a graceful stop.
    pub async fn terminate(&mut self) {
        self.end(Signal::TERM).await;
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the service was started").signal(signal);
    }

    pub async fn restart(&mut self) {
        self.kill().await;
        self.launch();
        self.ready().await;
    }

    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    pub fn launch(&mut self) {
        let binary = self.setup.binary.to_str().unwrap();
        self.process = Some(Process::start(&[binary], &self.setup.envs, "KILL", &self.setup.log));
    }

    pub async fn ready(&mut self) {
        let url = format!("{}/health/ready", self.url());
        let what = format!("{} is ready", self.setup.name);
        eventually(&what, async || {
            assert!(self.is_running(), "{} ended while starting:\n{}", self.setup.name, self.log());
            let answer =
                reqwest::Client::new().get(&url).timeout(Duration::from_secs(2)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    async fn end(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { return };
        process.signal(signal);
        eventually("the process has ended", async || (!process.is_running()).then_some(())).await;
        process.end();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let start = log.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
            eprintln!("--- the end of the log of {}:\n{}", self.setup.name, &log[start..]);
        }
    }
}
