//! The network of the shop: between each service and each server it speaks to stands a proxy of the suite.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};

use crate::proxy::{Mode, Proxy};
use crate::shop::{SERVICES, Shop};

pub struct Links(BTreeMap<String, Proxy>);

impl Links {
    /// One proxy for each link. In a cluster clients choose among three brokers, so nothing stands between.
    pub async fn start(with_broker: bool) -> Result<Links> {
        let mut links = BTreeMap::new();
        for name in names(with_broker) {
            let proxy = Proxy::start().await.context("cannot listen on a loopback port")?;
            links.insert(name, proxy);
        }
        Ok(Links(links))
    }

    /// What `up` has to be told so that the services use them.
    pub fn arguments(&self) -> Vec<String> {
        let via = |(name, proxy): (&String, &Proxy)| ["--via".into(), format!("{name}={}", proxy.port())];
        self.0.iter().flat_map(via).collect()
    }

    /// The servers' addresses are known when the shop has chosen its ports.
    pub fn point_at_servers(&self, shop: &Shop) -> Result<()> {
        for (name, proxy) in &self.0 {
            let server = name.rsplit('.').next().unwrap_or_default();
            let address = shop.address(match server {
                "nats" => "OPERATOR_NATS_URL",
                "postgres" => "OPERATOR_DATABASE_URL",
                "mailbox" => "SMTP_URL",
                _ => "CARD_PROCESSOR_URL",
            })?;
            let port = address.port().with_context(|| format!("{address} has no port"))?;
            proxy.point_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        Ok(())
    }

    pub fn set(&self, link: &str, mode: Mode) -> Result<()> {
        self.0.get(link).with_context(|| format!("there is no link {link}"))?.set(mode);
        Ok(())
    }
}

fn names(with_broker: bool) -> Vec<String> {
    let mut names = vec!["payment.card-processor".to_owned(), "email.mailbox".to_owned()];
    for service in SERVICES {
        names.push(format!("{service}.postgres"));
        if with_broker && service != "card-processor" {
            names.push(format!("{service}.nats"));
        }
    }
    names
}
