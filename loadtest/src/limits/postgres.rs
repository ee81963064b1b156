//! Postgres' own load generator, pgbench, with the tables of order-api in a database of its own: one order and
//! one outbox row in each transaction, as somebody would write it who does not collect orders. And what a
//! single commit costs that waits for the disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::process::Command;

use super::event;
use crate::engine::histogram::{Latencies, Percentiles};
use crate::shop::Shop;

const DATABASE: &str = "loadtest_limits";
/// The very tables of the shop.
const TABLES: [&str; 4] = [
    include_str!("../../../shared/messaging/migrations/0001_messaging.sql"),
    include_str!("../../../shared/messaging/migrations/0002_outbox_by_day.sql"),
    include_str!("../../../shared/messaging/migrations/0003_consumer_positions.sql"),
    include_str!("../../../services/order-api/migrations/0001_order_api.sql"),
];
pub const CLIENTS: [usize; 6] = [1, 8, 16, 32, 64, 96];
const COMMITS_FOR: Duration = Duration::from_secs(5);

pub struct Bench {
    shop: std::sync::Arc<Shop>,
    options: PgConnectOptions,
    password: String,
    script: tempfile::NamedTempFile,
}

impl Bench {
    pub async fn prepare(shop: &std::sync::Arc<Shop>) -> Result<Bench> {
        let options = shop.own_database(DATABASE).await?;
        let mut connection = options.connect().await?;
        for tables in TABLES {
            connection.execute(tables).await.context("making the tables of order-api")?;
        }
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), transaction()?)?;
        Ok(Bench { shop: shop.clone(), options, password: shop.superuser_password()?, script })
    }

    /// Transactions a second with so many clients.
    pub async fn run(&self, clients: usize, length: Duration) -> Result<f64> {
        self.options.connect().await?.execute("truncate orders, outbox").await?;
        let seconds = length.as_secs().max(1).to_string();
        let (clients, port) = (clients.to_string(), self.options.get_port().to_string());
        let host = self.options.get_socket().map_or(Path::new(self.options.get_host()), PathBuf::as_path);
        let mut pgbench = Command::new(program());
        pgbench
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds, "-f"])
            .arg(self.script.path())
            .arg("-h")
            .arg(host)
            .args(["-p", &port, "-U", self.options.get_username(), DATABASE])
            .env("PGPASSWORD", &self.password)
            .kill_on_drop(true);
        let output = pgbench.output().await.with_context(|| {
            format!(
                "cannot run {}: install Postgres' client programs, or set POSTGRES_BIN",
                program().display()
            )
        })?;
        let said = String::from_utf8_lossy(&output.stdout);
        match rate(&said) {
            Some(rate) if output.status.success() => Ok(rate),
            _ => bail!(
                "pgbench with {clients} clients told no rate ({}); if it had too little time to connect, give it more with \
                 --duration. It said: {said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    /// One client that inserts one row and commits, with such a pause before each: in an idle shop everybody first has to
    /// wake up.
    pub async fn commits(&self, pause: Duration) -> Result<Percentiles> {
        let mut connection: PgConnection = self.options.connect().await?;
        connection
            .execute(
                "create table if not exists single (id bigint generated always as identity, at timestamptz)",
            )
            .await?;
        let (began, mut latencies) = (Instant::now(), Latencies::default());
        while began.elapsed() < COMMITS_FOR {
            // Even a sleep of nothing lasts until the clock's next tick.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let asked = Instant::now();
            sqlx::query("insert into single (at) values (now())").execute(&mut connection).await?;
            latencies.record(asked.elapsed());
        }
        Ok(latencies.percentiles())
    }

    pub async fn remove(self) -> Result<()> {
        self.shop.drop_database(DATABASE).await
    }
}

fn program() -> PathBuf {
    let folder = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
    folder
        .map(|folder| folder.join("pgbench"))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| "pgbench".into())
}

/// One statement, which is a transaction. The order's id begins with the time, as those of order-api do.
fn transaction() -> Result<String> {
    let event = event()?;
    let body = String::from_utf8(event.encode())?.replace('\'', "''");
    Ok(format!(
        "with new as (\
           insert into orders (order_id, customer_id, items, total_cents, traceparent, deadline_at) \
           values ('order-' || lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 11, '0') || '-' \
                            || replace(gen_random_uuid()::text, '-', ''), \
                   'cust-4567', '[{{\"sku\": \"latte\", \"name\": \"Latte\", \"price\": 4.50, \"quantity\": 2}}]', 1600, \
                   '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', now() + interval '15 minutes') \
           returning order_id) \
         insert into outbox (event_id, event_type, order_id, subject, occurred_at, traceparent, body, created_at) \
         select gen_random_uuid()::text, 'OrderCreated', order_id, 'orders.created.3', now(), \
                '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', convert_to('{body}', 'UTF8'), now() from new;\n"
    ))
}

fn rate(said: &str) -> Option<f64> {
    let line = said.lines().filter_map(|line| line.strip_prefix("tps = ")).next_back()?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let said = "number of clients: 8\nlatency average = 1.9 ms\ntps = 4209.6 (without initial connection time)\n";
        assert_eq!(rate(said), Some(4_209.6));
        assert_eq!(rate("no"), None);
    }

    #[test]
    fn the_script_is_one_statement_without_variables() {
        let script = transaction().expect("valid");
        assert_eq!(script.matches(";\n").count(), 1);
        let bytes = script.as_bytes();
        let variable = |pair: &[u8]| pair[0] == b':' && (pair[1].is_ascii_alphabetic() || pair[1] == b'_');
        let casts = script.matches("::").count();
        assert_eq!(bytes.windows(2).filter(|pair| variable(pair)).count(), casts, "{script}");
    }
}
