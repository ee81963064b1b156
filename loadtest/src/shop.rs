//! The shop under load, as its own files describe it: addresses and credentials in `.run/env`, processes in
//! `.run/pids`. Nothing here opens or closes a shop; what a scenario changes is put back by [`Shop::restore`].

mod address;
mod control;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, bail};
use async_nats::jetstream;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

pub use self::address::{Variables, project};
pub use self::control::Audit;

/// The consumers' services, in the order of an order's way through them.
pub const CONSUMING: [&str; 6] = ["payment", "inventory", "email", "loyalty", "kitchen-display", "analytics"];

pub struct Shop {
    variables: Variables,
    /// Of a shop that runs as processes of this machine.
    run: Option<PathBuf>,
    pub order_api: String,
    pub jetstream: jetstream::Context,
    pub http: reqwest::Client,
    /// Parts that were scaled, and how many of each there were before.
    changed: Mutex<BTreeMap<String, usize>>,
    /// Of the card processor, before it was changed.
    behaviour: Mutex<Option<serde_json::Value>>,
}

impl Shop {
    /// `url`: another address of order-api, for example that of a proxy.
    pub async fn find(url: Option<&str>) -> Result<Shop> {
        let (variables, run) = Variables::read()?;
        let order_api = url.map_or_else(|| variables.get("ORDER_API_URL"), Ok)?;
        let order_api = order_api.trim_end_matches('/').to_owned();
        let nats = variables.get("OPERATOR_NATS_URL")?;
        let (options, servers) =
            messaging::broker::parse(nats).map_err(|error| anyhow!("OPERATOR_NATS_URL is {error}"))?;
        let options = messaging::broker::trusting(options, variables.get("NATS_CA").ok().map(Path::new));
        let client = options.name("loadtest").connect(servers).await;
        let client = client.context("the broker does not answer: is the shop open?")?;
        let http = reqwest::Client::builder().no_proxy().build().context("no HTTP client can be made")?;
        Ok(Shop {
            run,
            order_api,
            jetstream: jetstream::new(client),
            http,
            changed: Mutex::default(),
            behaviour: Mutex::default(),
            variables,
        })
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        self.variables.get(name)
    }

    /// For reading the database of one service.
    pub fn read(&self, service: &str) -> Result<PgPool> {
        let name = service.replace('-', "_");
        let url = self.get("OPERATOR_DATABASE_URL")?;
        let options = if url.contains("{database}") {
            PgConnectOptions::from_str(&url.replace("{database}", &name))
        } else {
            PgConnectOptions::from_str(url).map(|options| options.database(&name))
        };
        let options = options.context("OPERATOR_DATABASE_URL is not a Postgres URL")?;
        Ok(pool().connect_lazy_with(options.application_name("loadtest")))
    }

    /// For writing to the database of one service, as that service.
    pub fn write(&self, service: &str) -> Result<PgPool> {
        let name = format!("{}_DATABASE_URL", service.replace('-', "_").to_uppercase());
        let options = PgConnectOptions::from_str(self.get(&name)?);
        let options = options.with_context(|| format!("{name} is not a Postgres URL"))?;
        Ok(pool().connect_lazy_with(options.application_name("loadtest")))
    }

    /// A new and empty database on the shop's own Postgres, for what is measured beside the shop. It replaces
    /// one of the same name.
    pub async fn own_database(&self, name: &str) -> Result<PgConnectOptions> {
        let superuser = self.superuser()?;
        let pool = pool().connect_with(superuser.clone()).await;
        let pool = pool.context("cannot connect to Postgres as its superuser")?;
        for statement in
            [format!("drop database if exists {name} with (force)"), format!("create database {name}")]
        {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await?;
        }
        pool.close().await;
        Ok(superuser.database(name))
    }

    /// The address of such a database, for another process.
    pub fn own_url(&self, name: &str) -> Result<String> {
        let options = self.superuser()?;
        let url = format!("postgres://{}:{}/{name}", options.get_host(), options.get_port());
        let mut url: reqwest::Url = url.parse().context("the address of Postgres is no URL")?;
        let password = self.superuser_password()?;
        let is_set =
            url.set_username(options.get_username()).and_then(|()| url.set_password(Some(&password)));
        is_set.map_err(|()| anyhow!("the address of Postgres takes no user"))?;
        Ok(url.to_string())
    }

    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let pool = pool().connect_with(self.superuser()?).await?;
        let statement = format!("drop database if exists {name} with (force)");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await?;
        pool.close().await;
        Ok(())
    }

    /// For programs that take it from their environment.
    pub fn superuser_password(&self) -> Result<String> {
        match self.get("SUPERUSER_DATABASE_URL") {
            Ok(url) => {
                let url: reqwest::Url = url.parse().context("SUPERUSER_DATABASE_URL is no URL")?;
                Ok(url.password().unwrap_or_default().to_owned())
            }
            Err(_) => self.secret(),
        }
    }

    fn superuser(&self) -> Result<PgConnectOptions> {
        if let Ok(url) = self.get("SUPERUSER_DATABASE_URL") {
            return PgConnectOptions::from_str(url).context("SUPERUSER_DATABASE_URL is not a Postgres URL");
        }
        let operator = PgConnectOptions::from_str(self.get("OPERATOR_DATABASE_URL")?)?;
        let superuser = operator.username("postgres").password(&self.secret()?).database("postgres");
        // As the shop's services reach it, or the yardstick would pay for what they do not.
        Ok(match self.get("POSTGRES_SOCKET") {
            Ok(folder) => superuser.socket(folder),
            Err(_) => superuser,
        })
    }

    /// The superuser's password, as the supervisor keeps it.
    fn secret(&self) -> Result<String> {
        let Some(run) = &self.run else {
            bail!(
                "this needs a database of its own: set SUPERUSER_DATABASE_URL to a role that may create one"
            )
        };
        let path = run.join("secrets");
        let secrets =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let password = secrets.lines().find_map(|line| line.strip_prefix("postgres/superuser="));
        password.map(str::to_owned).with_context(|| format!("{} has no postgres/superuser", path.display()))
    }

    /// The processes of each part, by its name: `payment`, `postgres`. None where the shop runs in containers.
    pub fn processes(&self) -> BTreeMap<String, Vec<u32>> {
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let Some(run) = &self.run else { return found };
        for file in std::fs::read_dir(run.join("pids")).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".pid") else { continue };
            let pid: Option<u32> =
                std::fs::read_to_string(file.path()).ok().and_then(|pid| pid.trim().parse().ok());
            found.entry(part_of(name).to_owned()).or_default().extend(pid);
        }
        found
    }

    /// Of a shop that runs as processes of this machine.
    pub fn folder(&self) -> Option<&Path> {
        self.run.as_deref()
    }

    /// `what_for` works on a shop of this machine only.
    pub fn run_folder(&self, what_for: &str) -> Result<&Path> {
        self.run.as_deref().with_context(|| {
            format!("{what_for} works on a shop that ./scripts/up opened on this machine, not on one in containers")
        })
    }
}

fn pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(2).acquire_timeout(std::time::Duration::from_secs(10))
}

/// `payment` for `payment-2`.
fn part_of(instance: &str) -> &str {
    match instance.rsplit_once('-') {
        Some((part, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => part,
        _ => instance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_belongs_to_its_part() {
        for (instance, part) in [("payment-2", "payment"), ("order-api", "order-api"), ("nats", "nats")] {
            assert_eq!(part_of(instance), part);
        }
    }
}
