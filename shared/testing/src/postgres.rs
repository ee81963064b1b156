//! A Postgres for throw-away databases: one server for all tests of a binary, or one of its own for a test
//! that stops it. Commits do not wait for the disk here; a test that is about that says so itself.

use std::net::TcpStream;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use crate::process::{Folder, Process, free_port, script, server_program};

const PASSWORD: &str = "superuser-of-the-tests";

pub struct Postgres {
    port: u16,
    process: Mutex<Option<Process>>,
    folder: Folder,
}

impl Postgres {
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    pub fn start() -> Postgres {
        let postgres = Postgres { port: free_port(), process: Mutex::new(None), folder: Folder::new() };
        postgres.start_again();
        postgres
    }

    pub fn start_again(&self) {
        let (script, data) = (script("postgres"), self.folder.join("postgres"));
        let port = self.port.to_string();
        let command = [script.to_str().unwrap(), data.to_str().unwrap(), &port, "-c", "fsync=off"];
        let envs = [
            ("SUPERUSER_PASSWORD".to_owned(), PASSWORD.to_owned()),
            ("POSTGRES_BIN".to_owned(), server_program("POSTGRES_BIN")),
        ];
        let process = Process::start(&command, &envs, "INT", &self.folder.join("postgres.log"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(process.is_running() && start.elapsed() < Duration::from_secs(60), "{}", process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.process.lock().unwrap() = Some(process);
    }

    /// As a power cut would: no shutdown, connections dead.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.signal(Signal::QUIT);
        }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its address.
    pub async fn create(&self, name: &str) -> String {
        let mut admin = crate::eventually("Postgres accepts connections", async || {
            PgConnection::connect(&self.url("postgres")).await.ok()
        })
        .await;
        let sql = format!("create database \"{name}\"");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        self.url(name)
    }
}
