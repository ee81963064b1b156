//! The way to the shop: one connection to the broker, and one to each service's database when it is needed.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream;
use events::topology::CONSUMERS;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Address {
    /// The broker, with the operator's credentials: nats://operator:…@host:port.
    #[arg(long, env = "OPERATOR_NATS_URL", hide_env_values = true, global = true)]
    nats_url: Option<String>,
    /// Postgres, with a role that may read every service's database: postgres://operator:…@host:port/postgres.
    #[arg(long, env = "OPERATOR_DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
}

pub struct Shop {
    pub jetstream: jetstream::Context,
    postgres: PgConnectOptions,
}

impl Shop {
    /// Fails early, and with advice, when the broker does not answer.
    pub async fn connect(address: &Address) -> Result<Shop> {
        let nats = required(address.nats_url.as_deref(), "OPERATOR_NATS_URL")?;
        let postgres = required(address.database_url.as_deref(), "OPERATOR_DATABASE_URL")?;
        let postgres = PgConnectOptions::from_str(postgres)
            .map_err(|error| anyhow!("OPERATOR_DATABASE_URL is not a Postgres URL: {error}"))?;
        let servers = async_nats::ServerAddr::from_str(nats)
            .map_err(|error| anyhow!("OPERATOR_NATS_URL is not a NATS URL: {error}"))?;
        let place = format!("{}:{}", servers.host(), servers.port());
        let client = async_nats::ConnectOptions::new()
            .name("coffeectl")
            .connection_timeout(PATIENCE)
            .event_callback(|_| async {})
            .connect(servers)
            .await
            .with_context(|| {
                format!("the broker at {place} does not answer; start it, or check OPERATOR_NATS_URL")
            })?;
        Ok(Shop { jetstream: jetstream::new(client), postgres })
    }

    /// The database of one service.
    pub async fn database(&self, service: &str) -> Result<PgPool> {
        let name = service.replace('-', "_");
        let place = format!("{}:{}", self.postgres.get_host(), self.postgres.get_port());
        PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_with(self.postgres.clone().database(&name).application_name("coffeectl"))
            .await
            .with_context(|| {
                format!(
                    "the database {name} at {place} does not answer; start it, or check OPERATOR_DATABASE_URL"
                )
            })
    }
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        anyhow!(
            "{name} is not set: start the shop with ./scripts/up, then use ./scripts/coffeectl, or set it"
        )
    })
}

/// The services that take part in the stream, in the order of the topology.
pub fn services() -> Vec<&'static str> {
    let mut services: Vec<&str> = Vec::new();
    for spec in CONSUMERS {
        if !services.contains(&spec.service) {
            services.push(spec.service);
        }
    }
    services
}
