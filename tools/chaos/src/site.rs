//! Everything a fault can lay its hands on, as an operator with all rights has it: the processes, the network,
//! the broker, the databases, and each service's HTTP port.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, Context};
use reqwest::Client;

use crate::databases::Databases;
use crate::letters::Letters;
use crate::links::Links;
use crate::shop::Shop;

/// How long something may be refused because of what another fault does meanwhile.
const PATIENCE: Duration = Duration::from_secs(45);

pub struct Site {
    pub shop: Shop,
    pub links: Links,
    pub broker: Context,
    pub databases: Databases,
    pub http: Client,
    /// Events that were injected and have to end as dead letters.
    pub letters: Letters,
}

impl Site {
    /// Opens the shop. `settings` are further arguments of `up`.
    pub async fn open(shop: Shop, settings: &[String], is_cluster: bool) -> Result<Site> {
        let links = Links::start(!is_cluster).await?;
        let mut arguments = links.arguments();
        arguments.extend_from_slice(settings);
        if is_cluster {
            arguments.push("--cluster".into());
        }
        let opened = shop.up(&arguments);
        let pointed = async {
            // The services are not ready before they reach their servers through the links.
            while shop.addresses().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            links.point_at_servers(&shop)?;
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            opened = opened => opened?,
            failed = pointed => failed?,
        }
        let broker = connect(&shop).await?;
        let databases = Databases::connect(&shop.address("OPERATOR_DATABASE_URL")?)?;
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Site { shop, links, broker, databases, http, letters: Letters::default() })
    }

    /// A line of the shop's env file.
    pub fn address(&self, name: &str) -> Result<String> {
        self.shop.addresses()?.remove(name).with_context(|| format!("the shop's env file has no {name}"))
    }

    /// Arms a failpoint of a service, or disarms it with `off`.
    pub async fn arm(&self, service: &str, failpoint: &str, action: &'static str) -> Result<()> {
        let url = self.shop.url_of(service)?.join(&format!("failpoints/{failpoint}"))?;
        let answer = self.http.put(url).body(action).send().await?;
        answer.error_for_status().with_context(|| format!("{service} was not built with failpoints"))?;
        Ok(())
    }
}

/// Asks again until it works: a fault that runs beside another may find its way blocked for a while.
pub async fn insist<T, E: Into<anyhow::Error>>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error.into()).context(format!("cannot {what}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connect(shop: &Shop) -> Result<Context> {
    let urls = shop.addresses()?.remove("OPERATOR_NATS_URL").context("no OPERATOR_NATS_URL")?;
    let servers = urls.split(',').map(str::parse).collect::<Result<Vec<async_nats::ServerAddr>, _>>()?;
    // The library ignores the user in the URL.
    let user = servers.iter().find_map(|server| Some((server.username()?, server.password()?)));
    let (user, password) = user.context("OPERATOR_NATS_URL names no user")?;
    let client = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into())
        .name("chaos")
        .reconnect_delay_callback(|_| Duration::from_millis(100))
        .event_callback(|_| async {})
        .connect(&servers)
        .await
        .context("the broker does not let the operator in")?;
    let mut broker = jetstream::new(client);
    broker.set_timeout(Duration::from_secs(2));
    Ok(broker)
}
