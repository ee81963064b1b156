//! Which port each process listens on.
//!
//! A port the user set is used or refused, never replaced. Every other taken port is replaced by a free
//! one, loudly, so that something else on 8080 does not keep the shop closed. What was chosen is kept in
//! `.run/ports`: a restarted shop has the addresses it had.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

use crate::catalogue::{self, Instance};
use crate::place::{Place, write_private};
use crate::port_holder;

/// Free ports are looked for below the range from which systems take the ports of outgoing connections:
/// otherwise some connection could sit on a service's port while it restarts.
const SEARCHED: std::ops::Range<u16> = 20_000..32_000;

/// What the environment asks for.
#[derive(Debug)]
pub struct Wishes {
    /// Ports set by variables such as `ORDER_API_PORT`.
    explicit: BTreeMap<Instance, u16>,
    /// `PORTS=free`: use no default port, so that several shops fit on one machine.
    free_everywhere: bool,
    /// The address whose ports these are.
    bind: IpAddr,
}

impl Wishes {
    pub fn from_env(bind: IpAddr) -> Result<Self> {
        Self::new(bind, |name| std::env::var(name).ok())
    }

    fn new(bind: IpAddr, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut explicit = BTreeMap::new();
        for part in catalogue::parts() {
            let Some(value) = variable(part.port_variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            match value.parse() {
                Ok(port) if port > 0 => explicit.insert(Instance::first(part), port),
                _ => {
                    bail!("{}={value} is not a port; it must be a number from 1 to 65535", part.port_variable)
                }
            };
        }
        let free_everywhere = match variable("PORTS").as_deref() {
            None | Some("") => false,
            Some("free") => true,
            Some(other) => bail!("PORTS={other} is not known; set PORTS=free or leave it out"),
        };
        Ok(Self { explicit, free_everywhere, bind })
    }
}

/// The port of every process.
#[derive(Debug, Default)]
pub struct Ports(BTreeMap<Instance, u16>);

impl Ports {
    /// Ports remembered from the last start.
    pub fn load(place: &Place) -> Self {
        let text = fs::read_to_string(place.run.join("ports")).unwrap_or_default();
        let line = |line: &str| {
            let (name, port) = line.split_once('=')?;
            Some((Instance::parse(name)?, port.parse().ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub fn save(&self, place: &Place) -> Result<()> {
        let lines: String = self.0.iter().map(|(instance, port)| format!("{instance}={port}\n")).collect();
        write_private(&place.run.join("ports"), &lines)
    }

    /// The port of a process that [`Ports::settle`] was asked about.
    pub fn of(&self, instance: &Instance) -> u16 {
        self.0[instance]
    }

    /// Chooses a port for each of `wanted`; those of `running` processes stay. Returns what the user
    /// should know.
    pub fn settle(
        &mut self,
        wanted: &[Instance],
        running: &BTreeSet<Instance>,
        wishes: &Wishes,
    ) -> Result<Vec<String>> {
        let remembered = std::mem::take(&mut self.0);
        for instance in running {
            if let Some(port) = remembered.get(instance) {
                self.0.insert(*instance, *port);
            }
        }
        self.take_explicit(wanted, wishes)?;
        let mut notices = Vec::new();
        for instance in wanted {
            if self.0.contains_key(instance) {
                continue;
            }
            let default = (instance.number == 1 && !wishes.free_everywhere).then_some(instance.part.port);
            let usual: Vec<u16> = remembered.get(instance).copied().into_iter().chain(default).collect();
            let port = match usual.iter().find(|port| self.is_free(**port, wishes.bind)) {
                Some(port) => *port,
                None => self.any_free(wishes.bind)?,
            };
            if let Some(taken) = usual.first().filter(|first| **first != port) {
                let mut notice =
                    format!("port {taken} of {instance} is taken by {}: using {port}", self.holder(*taken));
                if instance.number == 1 {
                    notice += &format!(" (set {} to choose)", instance.part.port_variable);
                }
                notices.push(notice);
            }
            self.0.insert(*instance, port);
        }
        Ok(notices)
    }

    fn take_explicit(&mut self, wanted: &[Instance], wishes: &Wishes) -> Result<()> {
        let mut problems = Vec::new();
        for (instance, port) in wishes.explicit.iter().filter(|(instance, _)| wanted.contains(instance)) {
            let variable = instance.part.port_variable;
            match self.0.get(instance) {
                Some(current) if current == port => {}
                Some(current) => problems.push(format!(
                    "{variable}={port}, but {instance} is running on port {current}: run ./scripts/down first"
                )),
                None if self.is_free(*port, wishes.bind) => {
                    self.0.insert(*instance, *port);
                }
                None => problems.push(format!(
                    "{variable}={port}, but that port is taken by {}: free it or set {variable} to another",
                    self.holder(*port)
                )),
            }
        }
        if problems.is_empty() { Ok(()) } else { bail!(problems.join("\n")) }
    }

    fn is_free(&self, port: u16, bind: IpAddr) -> bool {
        // The servers listen on loopback wherever the services do.
        let addresses = BTreeSet::from([bind, IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        !self.0.values().any(|used| *used == port)
            && addresses.into_iter().all(|address| TcpListener::bind((address, port)).is_ok())
    }

    fn any_free(&self, bind: IpAddr) -> Result<u16> {
        // Different shops begin at different places and take neighbouring ports from there: so those starting together
        // do not race for one, and one that is closed for a moment hardly loses any to another.
        let length = SEARCHED.end - SEARCHED.start;
        let start = std::process::id().wrapping_mul(7919) % u32::from(length);
        let start = u16::try_from(start)?;
        match (0..length)
            .map(|n| SEARCHED.start + (start + n) % length)
            .find(|port| self.is_free(*port, bind))
        {
            Some(port) => Ok(port),
            None => bail!("no port from {} to {} is free", SEARCHED.start, SEARCHED.end - 1),
        }
    }

    fn holder(&self, port: u16) -> String {
        match self.0.iter().find(|(_, used)| **used == port) {
            Some((instance, _)) => format!("{instance} of this shop"),
            None => port_holder::describe(port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue::{NATS, POSTGRES, SERVICES};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn wishes(variables: &[(&str, String)]) -> Result<Wishes> {
        Wishes::new(HERE, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        })
    }

    fn settle(ports: &mut Ports, wanted: &[Instance], variables: &[(&str, String)]) -> Result<Vec<String>> {
        ports.settle(wanted, &BTreeSet::new(), &wishes(variables)?)
    }

    fn taken() -> (TcpListener, u16) {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_port_the_user_set_is_used() {
        let (listener, port) = taken();
        drop(listener);
        let mut ports = Ports::default();
        let notices =
            settle(&mut ports, &[Instance::first(NATS)], &[("NATS_PORT", port.to_string())]).unwrap();
        assert_eq!((ports.of(&Instance::first(NATS)), notices.len()), (port, 0));
    }

    #[test]
    fn a_taken_port_the_user_set_is_an_error_that_names_both() {
        let (_listener, port) = taken();
        let error =
            settle(&mut Ports::default(), &[Instance::first(NATS)], &[("NATS_PORT", port.to_string())])
                .unwrap_err()
                .to_string();
        assert!(error.contains(&format!("NATS_PORT={port}")), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    }

    #[test]
    fn two_parts_cannot_be_given_one_port() {
        let (listener, port) = taken();
        drop(listener);
        let both = [("NATS_PORT", port.to_string()), ("POSTGRES_PORT", port.to_string())];
        let error = settle(&mut Ports::default(), &[Instance::first(NATS), Instance::first(POSTGRES)], &both)
            .unwrap_err()
            .to_string();
        assert!(error.contains("of this shop"), "{error}");
    }

    #[test]
    fn a_taken_remembered_port_is_replaced_loudly() {
        let (_listener, port) = taken();
        let second = Instance { part: SERVICES[0], number: 2 };
        let mut ports = Ports(BTreeMap::from([(second, port)]));
        let notices = settle(&mut ports, &[second], &[]).unwrap();
        assert_ne!(ports.of(&second), port);
        assert!(notices[0].contains(&format!("port {port} of card-processor-2 is taken")), "{notices:?}");
    }

    #[test]
    fn a_port_has_to_be_free_on_loopback_too() {
        let (_listener, port) = taken();
        let elsewhere = Ipv4Addr::new(127, 0, 0, 2).into();
        let ports = Ports::default();
        assert!(TcpListener::bind((elsewhere, port)).is_ok());
        assert!(!ports.is_free(port, elsewhere));
    }

    #[test]
    fn a_remembered_port_is_kept_while_it_is_free_or_ours() {
        let (listener, port) = taken();
        let first = Instance::first(NATS);
        let mut ports = Ports(BTreeMap::from([(first, port)]));
        ports.settle(&[first], &BTreeSet::from([first]), &wishes(&[]).unwrap()).unwrap();
        assert_eq!(ports.of(&first), port);
        drop(listener);
        assert!(settle(&mut ports, &[first], &[("PORTS", "free".into())]).unwrap().is_empty());
        assert_eq!(ports.of(&first), port);
    }

    #[test]
    fn free_ports_are_all_different_and_no_defaults() {
        let wanted: Vec<_> = catalogue::parts().map(Instance::first).collect();
        let mut ports = Ports::default();
        settle(&mut ports, &wanted, &[("PORTS", "free".into())]).unwrap();
        let chosen: BTreeSet<_> = wanted.iter().map(|instance| ports.of(instance)).collect();
        assert_eq!(chosen.len(), wanted.len());
        assert!(chosen.iter().all(|port| SEARCHED.contains(port)));
    }

    #[test]
    fn a_port_that_is_no_number_is_an_error() {
        assert!(wishes(&[("NATS_PORT", "http".into())]).is_err());
        assert!(wishes(&[("NATS_PORT", "0".into())]).is_err());
        assert!(wishes(&[("PORTS", "fre".into())]).is_err());
    }
}
