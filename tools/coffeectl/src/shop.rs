//! The way to the shop: one connection to the broker, and one to each service's database when it is needed.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream;
use events::topology::CONSUMERS;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Stands for the name of a service's database.
const NAME: &str = "{database}";
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub struct Address {
    /// The broker, with the operator's credentials: nats://operator:…@host:port.
    #[arg(long, env = "OPERATOR_NATS_URL", hide_env_values = true, global = true)]
    nats_url: Option<String>,
    /// The authority that signed the broker's certificate, as a PEM file; for one that no public authority
    /// signed.
    #[arg(long, env, global = true)]
    nats_ca: Option<PathBuf>,
    /// Postgres, with a role that may read every service's database: postgres://operator:…@host:port/postgres.
    /// Where the databases have longer names, say where each name goes: …/{database}_staging.
    #[arg(long, env = "OPERATOR_DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
}

pub struct Shop {
    pub jetstream: jetstream::Context,
    /// A URL with [`NAME`] where the name of a database goes, or with a name to be replaced.
    postgres: String,
}

impl Shop {
    /// Fails early, and with advice, when the broker does not answer.
    pub async fn connect(address: &Address) -> Result<Shop> {
        let nats = required(address.nats_url.as_deref(), "OPERATOR_NATS_URL")?;
        let postgres = required(address.database_url.as_deref(), "OPERATOR_DATABASE_URL")?;
        database_options(postgres, "postgres")?;
        messaging::broker::parse(nats).map_err(|error| anyhow!("OPERATOR_NATS_URL is {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        // A broker that was killed a moment ago is about to be started again.
        let client = loop {
            match sign_in(nats, address.nats_ca.as_deref()).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(BETWEEN_TRIES).await,
                result => break result?,
            }
        };
        Ok(Shop { jetstream: jetstream::new(client), postgres: postgres.to_owned() })
    }

    /// The database of one service.
    pub async fn database(&self, service: &str) -> Result<PgPool> {
        let name = service.replace('-', "_");
        let options = database_options(&self.postgres, &name)?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_with(options.application_name("coffeectl"))
            .await
            .with_context(|| {
                format!(
                    "the database {name} at {place} does not answer; start it, or check OPERATOR_DATABASE_URL"
                )
            })
    }
}

async fn sign_in(nats: &str, authority: Option<&Path>) -> Result<async_nats::Client> {
    let (options, servers) =
        messaging::broker::parse(nats).map_err(|error| anyhow!("OPERATOR_NATS_URL is {error}"))?;
    let place = servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
    let place = place.collect::<Vec<_>>().join(", ");
    let options = messaging::broker::trusting(options, authority)
        .name("coffeectl")
        .connection_timeout(PATIENCE)
        .event_callback(|_| async {});
    options.connect(servers).await.with_context(|| {
        format!("the broker at {place} does not answer; start it, or check OPERATOR_NATS_URL")
    })
}

fn database_options(url: &str, name: &str) -> Result<PgConnectOptions> {
    let parse = |url: &str| {
        PgConnectOptions::from_str(url)
            .map_err(|error| anyhow!("OPERATOR_DATABASE_URL is not a Postgres URL: {error}"))
    };
    match url.contains(NAME) {
        true => parse(&url.replace(NAME, name)),
        false => Ok(parse(url)?.database(name)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_database_goes_where_the_url_says() {
        let name = |url| {
            let options = database_options(url, "order_api").expect("a Postgres URL");
            options.get_database().map(str::to_owned).unwrap_or_default()
        };
        assert_eq!(name("postgres://operator@localhost:5432/postgres"), "order_api");
        assert_eq!(name("postgres://operator@localhost:5432/{database}_staging"), "order_api_staging");
        assert!(database_options("not a url", "order_api").is_err());
    }
}
