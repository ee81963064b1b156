//! What can be broken, one file for each kind of thing. A fault breaks something, keeps it broken for as long
//! as was drawn, and heals it, all in one function; it ends when it is healed.

mod broker;
mod card;
mod clock;
mod cluster;
mod events;
mod mail;
mod network;
mod points;
mod postgres;
mod processes;
mod scale;
mod streams;

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::LocalBoxFuture;

use crate::schedule::Draw;
use crate::site::Site;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Applied,
    /// It could not be, for this reason, and nothing was broken.
    Skipped(String),
}

type Act = for<'a> fn(&'a Site, &'a Draw) -> LocalBoxFuture<'a, Result<Effect>>;

#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// One of them is drawn; `a+b` means both together.
    pub targets: &'static [&'static str],
    /// Seconds, from and to.
    pub lasts: (u64, u64),
    /// From the end of the fault to the end of its consequences.
    pub recovers_within: Duration,
    /// What has to be left alone by another fault meanwhile, beside the target.
    pub needs: &'static [&'static str],
    shops: Shops,
    is_dealt: bool,
    pub act: Act,
}

/// The kind of shop a fault makes sense in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shops {
    All,
    OneBroker,
    Cluster,
}

/// Everything but the exceptions below: at once over, recovered within 10 s.
const fn fault(name: &'static str, about: &'static str, targets: &'static [&'static str], act: Act) -> Fault {
    Fault {
        name,
        about,
        targets,
        lasts: (0, 0),
        recovers_within: Duration::from_secs(10),
        needs: &[],
        shops: Shops::All,
        is_dealt: true,
        act,
    }
}

impl Fault {
    const fn lasting(self, from: u64, to: u64) -> Fault {
        Fault { lasts: (from, to), ..self }
    }

    const fn recovering_within(self, seconds: u64) -> Fault {
        Fault { recovers_within: Duration::from_secs(seconds), ..self }
    }

    const fn needing(self, needs: &'static [&'static str]) -> Fault {
        Fault { needs, ..self }
    }

    const fn with_one_broker(self) -> Fault {
        Fault { shops: Shops::OneBroker, ..self }
    }

    const fn in_a_cluster(self) -> Fault {
        Fault { shops: Shops::Cluster, ..self }
    }

    const fn on_request(self) -> Fault {
        Fault { is_dealt: false, ..self }
    }

    fn suits(&self, is_cluster: bool) -> bool {
        match self.shops {
            Shops::All => true,
            Shops::OneBroker => !is_cluster,
            Shops::Cluster => is_cluster,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every fault there is.
pub fn all() -> Vec<Fault> {
    [
        processes::FAULTS,
        postgres::FAULTS,
        broker::FAULTS,
        streams::FAULTS,
        network::FAULTS,
        mail::FAULTS,
        card::FAULTS,
        events::FAULTS,
        clock::FAULTS,
        points::FAULTS,
        scale::FAULTS,
        cluster::FAULTS,
    ]
    .concat()
}

/// What is dealt to a shop of this kind.
pub fn of(is_cluster: bool) -> Vec<Fault> {
    all().into_iter().filter(|fault| fault.is_dealt && fault.suits(is_cluster)).collect()
}

/// The faults of these names.
pub fn named(names: &[String], is_cluster: bool) -> Result<Vec<Fault>> {
    let all = all();
    let mut found = Vec::new();
    for name in names {
        match all.iter().find(|fault| fault.name == name) {
            Some(fault) if fault.suits(is_cluster) => found.push(*fault),
            Some(_) if is_cluster => bail!("{name} is for a shop with one broker: leave out --cluster"),
            Some(_) => bail!("{name} is for a shop with three brokers: add --cluster"),
            None => bail!("there is no fault {name:?}; `./scripts/chaos --list` names them"),
        }
    }
    Ok(found)
}

/// Leaves it broken for as long as was drawn.
async fn for_as_long(draw: &Draw) {
    tokio::time::sleep(draw.lasts).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_different_and_every_fault_has_a_target() {
        let all = all();
        assert_eq!(all.iter().map(|fault| fault.name).collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|fault| !fault.targets.is_empty() && fault.lasts.0 <= fault.lasts.1));
    }

    #[test]
    fn an_unknown_fault_is_refused_and_one_for_another_shop_too() {
        assert!(named(&["kill-everybody".into()], false).is_err());
        assert!(named(&["broker-empty".into()], true).is_err());
        assert_eq!(named(&["broker-away-long".into()], false).map(|found| found.len()).ok(), Some(1));
    }
}
