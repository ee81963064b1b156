//! What somebody wants of the shop beyond one process of each part.
//!
//! Kept in `.run/plan` while the shop is open, one wish a line, so that `up` can change a running shop and
//! a supervisor that was killed is followed by one that wants the same. Private, because a setting may be
//! a password.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;

use anyhow::{Context, Result, bail};

use crate::broker::Broker;
use crate::catalogue::{Instance, NATS, Part, SERVERS, SERVICES, TRACES};
use crate::detour::Detour;
use crate::place::{Place, write_private};
use crate::scale::Change;
use crate::setting::Setting;

#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Plan {
    /// Run the broker as a cluster of three servers (nats, nats-2, nats-3) that keep every message three
    /// times. A shop stays with the kind of broker it first had.
    #[arg(long)]
    pub cluster: bool,
    /// Speak TLS with the broker. With the certificate, its key and the authority that signed it from the files
    /// NATS_TLS_CERT, NATS_TLS_KEY and NATS_TLS_CA, or with ones made for this shop. Said when it opens.
    #[arg(long)]
    pub tls: bool,
    /// How many instances of a service to run, for example payment=3. A server of an open shop (nats,
    /// postgres, mailbox) is held stopped by nats=0 and started again by nats=1. With traces=0 there is no
    /// trace page; services send spans to it if it was wanted when they started.
    #[arg(long, value_name = "PART=N")]
    pub scale: Vec<Change>,
    /// Tell a service another port on 127.0.0.1 for what it uses (nats, postgres, mailbox or
    /// card-processor), for example payment.nats=4333 where a proxy listens. SERVICE.PART alone takes it
    /// back. Takes effect when a process of the service next starts.
    #[arg(long, value_name = "SERVICE.PART=PORT")]
    pub via: Vec<Detour>,
    /// Add a variable to the environment of a service's processes, or of all with '*', for example
    /// order-api.ORDER_SETTLE_SECONDS=60. SERVICE.NAME alone takes it back. Takes effect when a process
    /// of the service next starts.
    #[arg(long, value_name = "SERVICE.NAME=VALUE")]
    pub set: Vec<Setting>,
}

impl Plan {
    pub fn load(place: &Place) -> Result<Self> {
        let path = place.plan();
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text)
                .with_context(|| format!("{} is not what `up` wrote; remove it", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn save(&self, place: &Place) -> Result<()> {
        write_private(&place.plan(), &self.lines().iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    /// Adds `more` to what is wanted of an open shop. Two commands at once do not lose each other's wishes.
    pub fn change(place: &Place, more: &Self) -> Result<()> {
        let path = place.run.join("plan.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        let mut plan = Self::load(place)?;
        if more.tls && !plan.tls {
            bail!("this shop is open without TLS: close it (./scripts/down), then open it with --tls");
        }
        plan.add(more);
        plan.check(place)?;
        plan.save(place)
    }

    /// A later wish replaces an earlier one about the same.
    pub fn add(&mut self, more: &Self) {
        self.cluster |= more.cluster;
        self.tls |= more.tls;
        for change in &more.scale {
            self.scale.retain(|earlier| earlier.of != change.of);
            self.scale.push(*change);
        }
        for detour in &more.via {
            self.via.retain(|earlier| !detour.replaces(earlier));
            self.via.extend(detour.port.is_some().then_some(*detour));
        }
        for setting in &more.set {
            self.set.retain(|earlier| !setting.replaces(earlier));
            self.set.extend(setting.value.is_some().then(|| setting.clone()));
        }
    }

    /// Fails if the shop cannot be as wanted.
    pub fn check(&self, place: &Place) -> Result<()> {
        self.broker().check(place)?;
        let servers = self.servers();
        let mut named = self.scale.iter().map(|change| change.of).chain(self.via.iter().map(|way| way.to));
        match named.find(|of| of.is_server() && !servers.contains(of)) {
            None => Ok(()),
            Some(missing) => {
                bail!("there is no {missing}: this shop has one nats-server, only `up --cluster` starts more")
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The arguments that say the same.
    pub fn arguments(&self) -> Vec<String> {
        self.lines().iter().map(|line| format!("--{}", line.replacen(' ', "=", 1))).collect()
    }

    fn lines(&self) -> Vec<String> {
        let cluster = self.cluster.then(|| "cluster".to_owned());
        let tls = self.tls.then(|| "tls".to_owned());
        let scale = self.scale.iter().map(|change| format!("scale {change}"));
        let via = self.via.iter().map(|detour| format!("via {detour}"));
        let set = self.set.iter().map(|setting| format!("set {setting}"));
        cluster.into_iter().chain(tls).chain(scale).chain(via).chain(set).collect()
    }

    fn parse(text: &str) -> Result<Self> {
        let mut plan = Self::default();
        for line in text.lines() {
            let wrong = |why: String| anyhow::anyhow!("{line:?}: {why}");
            match line.split_once(' ') {
                None if line == "cluster" => plan.cluster = true,
                None if line == "tls" => plan.tls = true,
                Some(("scale", wish)) => plan.scale.push(wish.parse().map_err(wrong)?),
                Some(("via", wish)) => plan.via.push(wish.parse().map_err(wrong)?),
                Some(("set", wish)) => plan.set.push(wish.parse().map_err(wrong)?),
                _ => bail!("{line:?} is no wish"),
            }
        }
        Ok(plan)
    }

    pub fn broker(&self) -> Broker {
        if self.cluster { Broker::Cluster } else { Broker::Single }
    }

    /// Every server of the shop, held or not.
    pub fn servers(&self) -> Vec<Instance> {
        let others = SERVERS.into_iter().filter(|part| *part != NATS).map(Instance::first);
        self.broker().servers().into_iter().chain(others).collect()
    }

    /// The servers that can become ready: of too few of a cluster none does.
    pub fn able_servers(&self) -> Vec<Instance> {
        let mut able = self.wanted();
        let brokers = able.iter().filter(|instance| instance.part == NATS).count();
        let broker_works = self.broker().works_with(brokers);
        able.retain(|instance| instance.is_server() && (instance.part != NATS || broker_works));
        able
    }

    /// Servers that are to stay stopped.
    pub fn held(&self) -> Vec<Instance> {
        self.scale.iter().filter(|change| change.holds()).map(|change| change.of).collect()
    }

    /// Every process that should run: the servers, then the trace page, then the services.
    pub fn wanted(&self) -> Vec<Instance> {
        let held = self.held();
        let mut wanted = self.servers();
        wanted.retain(|server| !held.contains(server));
        for part in [TRACES].into_iter().chain(SERVICES) {
            wanted.extend((1..=self.count(part)).map(|number| Instance { part, number }));
        }
        wanted
    }

    fn count(&self, part: Part) -> u32 {
        let change = self.scale.iter().find(|change| change.of == Instance::first(part));
        change.map_or(1, |change| change.count)
    }

    /// Whether there is a trace page.
    pub fn has_traces(&self) -> bool {
        self.count(TRACES) > 0
    }

    /// The port a service is told for what it uses, if not the real one.
    pub fn detour(&self, service: Part, to: Instance) -> Option<u16> {
        self.via.iter().find(|detour| (detour.service, detour.to) == (service, to))?.port
    }

    /// More variables for a service; what is set for this service comes after what is set for all.
    pub fn settings(&self, service: Part) -> impl Iterator<Item = (&str, &str)> {
        let of_all = self.set.iter().filter(|setting| setting.service.is_none());
        let of_one = self.set.iter().filter(move |setting| setting.service == Some(service));
        of_all.chain(of_one).filter_map(|setting| Some((setting.name.as_str(), setting.value.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalogue::service;

    fn plan(lines: &str) -> Plan {
        Plan::parse(lines).unwrap()
    }

    fn names(instances: &[Instance]) -> Vec<String> {
        instances.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_can_have_more_instances_or_none() {
        assert_eq!(Plan::default().wanted().len(), SERVERS.len() + 1 + SERVICES.len());
        let names = names(&plan("scale payment=3\nscale order-api=0\n").wanted());
        assert_eq!(names.len(), SERVERS.len() + 1 + SERVICES.len() + 1);
        assert!(names.contains(&"payment-3".to_owned()) && !names.contains(&"order-api".to_owned()));
    }

    #[test]
    fn the_trace_page_is_there_unless_somebody_does_without() {
        let mut plan = Plan::default();
        assert!(plan.has_traces() && plan.wanted().contains(&Instance::first(TRACES)));
        plan.add(&self::plan("scale traces=0\n"));
        assert!(!plan.has_traces() && !plan.wanted().contains(&Instance::first(TRACES)));
        assert!(plan.held().is_empty());
    }

    #[test]
    fn a_held_server_is_not_wanted_until_it_is_let_go() {
        let mut plan = plan("scale nats=0\n");
        assert_eq!(names(&plan.held()), ["nats"]);
        assert!(!plan.wanted().contains(&Instance::first(NATS)));
        assert!(plan.servers().contains(&Instance::first(NATS)));
        plan.add(&self::plan("scale nats=1\n"));
        assert!(plan.held().is_empty() && plan.wanted().contains(&Instance::first(NATS)));
    }

    #[test]
    fn a_later_wish_replaces_an_earlier_one_and_leaves_the_others() {
        let mut all =
            plan("scale payment=3\nscale email=2\nvia payment.nats=1\nset payment.A=b\nset *.A=c\n");
        all.add(&plan("scale email=1\nvia payment.nats=2\nvia email.nats=3\nset payment.A=d\nset *.A\n"));
        let expected =
            "scale payment=3\nscale email=1\nvia payment.nats=2\nvia email.nats=3\nset payment.A=d\n";
        assert_eq!(all, plan(expected));
        all.add(&plan("via payment.nats\nset payment.A\n"));
        assert_eq!(all, plan("scale payment=3\nscale email=1\nvia email.nats=3\n"));
    }

    #[test]
    fn a_cluster_has_three_servers_and_two_of_them_are_enough() {
        let mut plan = plan("cluster\n");
        assert_eq!(names(&plan.servers()), ["nats", "nats-2", "nats-3", "postgres", "mailbox"]);
        plan.add(&self::plan("scale nats-3=0\n"));
        assert_eq!(names(&plan.able_servers()), ["nats", "nats-2", "postgres", "mailbox"]);
        plan.add(&self::plan("scale nats=0\n"));
        assert_eq!(names(&plan.able_servers()), ["postgres", "mailbox"]);
        assert_eq!(names(&plan.wanted())[..2], ["nats-2", "postgres"]);
    }

    #[test]
    fn a_server_of_a_cluster_is_nothing_to_a_shop_without() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { run: folder.path().into(), project: "/".into(), programs: "/".into() };
        for wish in ["scale nats-2=0\n", "via payment.nats-3=99\n"] {
            let error = plan(wish).check(&place).unwrap_err().to_string();
            assert!(error.contains("this shop has one nats-server"), "{error}");
            plan(&format!("cluster\n{wish}")).check(&place).unwrap();
        }
    }

    #[test]
    fn what_is_set_for_one_service_comes_after_what_is_set_for_all() {
        let plan = plan("set payment.A=its\nset email.A=mail\nset *.A=all\nset *.B=x\n");
        let settings: Vec<_> = plan.settings(service("payment").unwrap()).collect();
        assert_eq!(settings, [("A", "all"), ("B", "x"), ("A", "its")]);
    }

    #[test]
    fn the_file_says_what_the_arguments_said() {
        let text = "cluster\nscale nats=0\nvia payment.card-processor=99\nset *.A=b =c\n";
        let expected = ["--cluster", "--scale=nats=0", "--via=payment.card-processor=99", "--set=*.A=b =c"];
        assert_eq!(plan(text).arguments(), expected);
        assert!(Plan::parse("scale\n").is_err() && Plan::parse("via a.b=1\n").is_err());
    }
}
