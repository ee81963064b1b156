//! The shop's broker: one nats-server, or a cluster of three that keep every message three times.
//!
//! Each kind has a store of its own, and a shop stays with the kind it began with: the other would not know
//! what was ever said, while every database does.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::catalogue::{CLUSTER, Instance, NATS};
use crate::place::{Place, shown};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    Single,
    Cluster,
}

impl Broker {
    pub fn servers(self) -> Vec<Instance> {
        (1..=self.replicas()).map(|number| Instance { part: NATS, number }).collect()
    }

    /// How many servers keep each message.
    pub fn replicas(self) -> u32 {
        match self {
            Self::Single => 1,
            Self::Cluster => CLUSTER,
        }
    }

    /// Whether so many servers are enough for the broker to work: a cluster needs more than half.
    pub fn works_with(self, servers: usize) -> bool {
        2 * servers > self.servers().len()
    }

    /// Where a server keeps its messages.
    pub fn store(self, place: &Place, server: &Instance) -> PathBuf {
        match self {
            Self::Single => self.stores(place),
            Self::Cluster => self.stores(place).join(server.to_string()),
        }
    }

    fn stores(self, place: &Place) -> PathBuf {
        place.data().join(if self == Self::Single { "nats" } else { "nats-cluster" })
    }

    /// Fails if the shop's messages are with the other kind of broker.
    pub fn check(self, place: &Place) -> Result<()> {
        let run = shown(&place.run);
        match self {
            Self::Cluster if Self::Single.stores(place).exists() => bail!(
                "the shop in {run} keeps its messages in one nats-server, and a cluster would not have them: \
                 leave --cluster out, or give the cluster a folder of its own \
                 (COFFEE_SHOP_RUN=.run-cluster ./scripts/up --cluster), or delete {run} to forget this shop \
                 and its data"
            ),
            Self::Single if Self::Cluster.stores(place).exists() => bail!(
                "the shop in {run} keeps its messages in a cluster of {CLUSTER} nats-servers: open it with \
                 ./scripts/up --cluster, or delete {run} to forget this shop and its data"
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_cluster_works_while_it_has_more_than_half_of_its_servers() {
        let works = |broker: Broker| [0, 1, 2, 3].map(|servers| broker.works_with(servers));
        assert_eq!(works(Broker::Cluster), [false, false, true, true]);
        assert_eq!(works(Broker::Single)[..2], [false, true]);
    }

    #[test]
    fn a_shop_stays_with_the_kind_of_broker_it_has() {
        for (has, other) in [(Broker::Single, Broker::Cluster), (Broker::Cluster, Broker::Single)] {
            let folder = tempfile::tempdir().unwrap();
            let place = Place { run: folder.path().into(), project: "/".into(), programs: "/".into() };
            assert!(has.check(&place).is_ok() && other.check(&place).is_ok());
            for server in has.servers() {
                fs::create_dir_all(has.store(&place, &server)).unwrap();
            }
            assert!(has.check(&place).is_ok());
            assert!(other.check(&place).unwrap_err().to_string().contains("--cluster"));
        }
    }
}
