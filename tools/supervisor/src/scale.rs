//! How many instances of each service are wanted.
//!
//! Kept in `.run/scale` while the shop is open, so that `up --scale` can change a running shop and a
//! supervisor that was killed is followed by one that wants the same.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Result, bail};

use crate::catalogue::{Instance, Part, SERVICES};
use crate::place::{Place, write_private};

const MOST: u32 = 20;

/// One `--scale payment=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub service: Part,
    pub count: u32,
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = text.split_once('=').ok_or("say it as service=number, for example payment=3")?;
        let service = SERVICES.iter().find(|service| service.name == name).ok_or_else(|| {
            let names: Vec<_> = SERVICES.iter().map(|service| service.name).collect();
            format!("there is no service {name:?}; there are {}", names.join(", "))
        })?;
        match count.parse() {
            Ok(count) if count <= MOST => Ok(Self { service: *service, count }),
            _ => Err(format!("the number of instances of {name} must be 0 to {MOST}, not {count:?}")),
        }
    }
}

/// The wanted number of instances by service name; a service that is not in it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scale(BTreeMap<&'static str, u32>);

impl Scale {
    pub fn load(place: &Place) -> Result<Self> {
        let mut scale = Self::default();
        match fs::read_to_string(place.scale()) {
            Ok(text) => {
                for line in text.lines() {
                    match line.parse() {
                        Ok(change) => scale.apply(&[change]),
                        Err(why) => bail!("{}: {why}", place.scale().display()),
                    }
                }
                Ok(scale)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(scale),
            Err(error) => Err(error.into()),
        }
    }

    pub fn save(&self, place: &Place) -> Result<()> {
        let lines: String = self.0.iter().map(|(name, count)| format!("{name}={count}\n")).collect();
        write_private(&place.scale(), &lines)
    }

    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.0.insert(change.service.name, change.count);
        }
    }

    /// Every instance of every service that should run.
    pub fn instances(&self) -> Vec<Instance> {
        SERVICES
            .iter()
            .flat_map(|part| {
                let count = self.0.get(part.name).copied().unwrap_or(1);
                (1..=count).map(|number| Instance { part: *part, number })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_service_can_have_more_instances_or_none() {
        let mut scale = Scale::default();
        assert_eq!(scale.instances().len(), SERVICES.len());
        scale.apply(&["payment=3".parse().unwrap(), "order-api=0".parse().unwrap()]);
        let names: Vec<_> = scale.instances().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), SERVICES.len() + 1);
        assert!(names.contains(&"payment-3".to_owned()) && !names.contains(&"order-api".to_owned()));
    }

    #[test]
    fn a_scale_that_makes_no_sense_says_what_would() {
        for (text, part) in [
            ("payment", "service=number"),
            ("paymant=2", "there is no service \"paymant\""),
            ("nats=2", "order-api"),
            ("payment=-1", "0 to 20"),
            ("payment=21", "0 to 20"),
            ("payment=", "0 to 20"),
        ] {
            let error = text.parse::<Change>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
