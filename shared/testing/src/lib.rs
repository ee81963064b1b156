//! Throw-away servers for tests: a real Postgres, a real nats-server, a real mailbox, and the services as
//! the processes they are. Everything listens on a free loopback port, keeps its data in a temporary folder
//! and goes when the test process does, even if that is killed.
//!
//! Test support panics with a description instead of returning errors.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

pub mod arbitrary;
mod broker;
mod mailbox;
mod noise;
mod postgres;
mod process;
mod service;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use mailbox::Mailbox;
pub use postgres::Postgres;
pub use process::{Process, free_port, server_program};
pub use rustix::process::Signal;
pub use service::{Service, ServiceBuilder};
pub use world::World;

/// What every test service accepts as its staff token.
pub const STAFF_TOKEN: &str = "staff-token-of-the-tests";

/// The example of the contract, without anything that is optional on the way in.
pub const SAMPLE: &str = r#"{ "eventType": "OrderCreated", "timestamp": "2024-03-15T10:30:00Z",
  "data": { "orderId": "order-123", "customerId": "cust-456",
            "items": [ { "name": "Latte", "price": 4.50 } ], "total": 4.50 } }"#;

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer. The only place where tests wait.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition).await
}

pub async fn within<T>(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = condition().await {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A binary of another crate of this workspace, built into the same folder as the running test.
pub fn sibling_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}
