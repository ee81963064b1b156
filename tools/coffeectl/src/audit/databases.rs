//! One connection to the database of each service and to the card processor's ledger.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::PgPool;

use crate::shop::{Shop, services};

pub const CARD_PROCESSOR: &str = "card-processor";

pub struct Databases(BTreeMap<&'static str, PgPool>);

impl Databases {
    pub async fn open(shop: &Shop) -> Result<Databases> {
        let mut pools = BTreeMap::new();
        for service in services().into_iter().chain([CARD_PROCESSOR]) {
            pools.insert(service, shop.database(service).await?);
        }
        Ok(Databases(pools))
    }

    /// `service`: a service of the topology, or [`CARD_PROCESSOR`].
    pub fn of(&self, service: &str) -> &PgPool {
        &self.0[service]
    }

    /// Those that take part in the stream.
    pub fn of_services(&self) -> impl Iterator<Item = (&'static str, &PgPool)> {
        self.0.iter().filter(|(name, _)| **name != CARD_PROCESSOR).map(|(name, pool)| (*name, pool))
    }
}
