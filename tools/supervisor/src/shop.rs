//! The supervisor at work: opens the shop, keeps it as wanted, closes it.
//!
//! The servers come first and go last, everything else happens at once. Nothing is started before ports,
//! programs and passwords are known to be good, and a shop that cannot open leaves nothing running.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use events::permissions;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::catalogue::{
    Instance, NATS, NATS_MONITOR, NATS_ROUTES, POSTGRES, SERVERS, SERVICES, TRACES, TRACES_OTLP,
};
use crate::launch::{Launcher, Servers};
use crate::place::Place;
use crate::plan::Plan;
use crate::ports::{Ports, Wishes};
use crate::process::Process;
use crate::secrets::Secrets;
use crate::status::{Board, State, Status};
use crate::terminal::say;
use crate::tls::Tls;
use crate::{databases, env_file, keeper, nats_config, tail};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// A part that died this often before it was ever ready will not get better.
const DEATHS_ALLOWED: u32 = 4;

pub struct Shop {
    launcher: Arc<Launcher>,
    wishes: Wishes,
    board: Board,
    keepers: BTreeMap<Instance, Keeper>,
}

struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Shop {
    /// Checks and chooses everything that can be, without starting anything.
    pub async fn prepare(place: Place, board: Board, plan: &Plan) -> Result<Self> {
        Launcher::check_programs(&place)?;
        let bind = bind_address()?;
        let wishes = Wishes::from_env(bind)?;
        let servers = Servers::find(&place).await?;
        let secrets = Secrets::load_or_create(&place, secret_names())?;
        let staff_token = std::env::var("STAFF_TOKEN").ok().filter(|token| !token.is_empty());
        let staff_token = staff_token.unwrap_or_else(|| secrets.get(env_file::STAFF_TOKEN).to_owned());
        // Never through a proxy: everything asked is on this machine.
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ports = Mutex::new(Ports::load(&place));
        let broker = plan.broker();
        let tls = plan.tls.then(|| Tls::prepare(&place)).transpose()?;
        let launcher = Launcher { place, secrets, ports, broker, tls, bind, staff_token, servers, http };
        let shop = Self { launcher: Arc::new(launcher), wishes, board, keepers: BTreeMap::new() };
        shop.settle_ports(plan)?;
        Ok(shop)
    }

    fn place(&self) -> &Place {
        &self.launcher.place
    }

    /// Starts everything that is wanted and waits until it is ready. Processes a killed supervisor left
    /// are taken over, or stopped if they are not wanted.
    pub async fn open(&mut self) -> Result<()> {
        let plan = Plan::load(self.place())?;
        let (servers, services): (Vec<_>, Vec<_>) = plan.wanted().into_iter().partition(Instance::is_server);
        self.keep_all(&servers);
        if plan.has_traces() {
            self.keep_all(&[Instance::first(TRACES)]); // by the time there are spans it is ready
        }
        self.wait_until_ready(&plan.able_servers()).await?;
        let postgres = Instance::first(POSTGRES);
        if servers.contains(&postgres) {
            databases::prepare(self.launcher.port(&postgres), &self.launcher.secrets).await?;
        }
        self.keep_all(&survivors(self.place())); // those not wanted are stopped next
        self.reconcile().await?;
        // Without one of the servers a service may wait for it as long as somebody likes.
        if plan.held().is_empty() { self.wait_until_ready(&services).await } else { Ok(()) }
    }

    /// Makes what runs what `.run/plan` wants.
    pub async fn reconcile(&mut self) -> Result<()> {
        let plan = Plan::load(self.place())?;
        self.settle_ports(&plan)?;
        let wanted = plan.wanted();
        self.keep_all(&wanted);
        self.board.change(|status| status.wanted = wanted.iter().map(ToString::to_string).collect());
        let unwanted: Vec<_> =
            self.keepers.keys().copied().filter(|instance| !wanted.contains(instance)).collect();
        for held in unwanted.iter().filter(|instance| instance.is_server()) {
            say(&format!("stopping {held}, which --scale {held}=0 holds"));
        }
        self.stop(&unwanted).await;
        Ok(())
    }

    /// Stops everything: the services first, all at once, then the trace page, which hears their last spans,
    /// then what they stand on.
    pub async fn close(&mut self) {
        let (rest, services): (Vec<Instance>, Vec<_>) =
            self.keepers.keys().copied().partition(|one: &Instance| one.is_server() || one.is_optional());
        self.stop(&services).await;
        let traces: Vec<_> = rest.into_iter().filter(Instance::is_optional).collect();
        self.stop(&traces).await;
        for server in SERVERS.iter().rev() {
            let instances: Vec<_> = self.keepers.keys().copied().filter(|of| of.part == *server).collect();
            self.stop(&instances).await;
        }
        let _ = fs::remove_file(self.place().plan());
    }

    fn settle_ports(&self, plan: &Plan) -> Result<()> {
        // The first instance of every service has an address in the env file, even if none is wanted.
        let firsts = SERVICES.iter().map(|part| Instance::first(*part));
        let mut wanted: BTreeSet<_> = firsts.chain(plan.servers()).chain(plan.wanted()).collect();
        let mut running: BTreeSet<_> = survivors(self.place()).into_iter().collect();
        running.extend(self.keepers.keys());
        running.extend(plan.held()); // its address is what the services know it by
        for instances in [&mut wanted, &mut running] {
            add_endpoints(instances, plan.cluster);
        }
        let wanted: Vec<_> = wanted.into_iter().collect();
        {
            let mut ports = self.launcher.ports.lock().expect("no thread panics with the ports in hand");
            for notice in ports.settle(&wanted, &running, &self.wishes)? {
                say(&format!("NOTE: {notice}"));
            }
            ports.save(self.place())?;
        }
        let variables = self.launcher.with_addresses(|addresses| addresses.of_shop(self.place(), plan));
        env_file::write(self.place(), &variables)
    }

    fn keep_all(&mut self, instances: &[Instance]) {
        for instance in instances.iter().copied() {
            if self.keepers.contains_key(&instance) {
                continue;
            }
            let stop = CancellationToken::new();
            let (launcher, board, token) = (self.launcher.clone(), self.board.clone(), stop.clone());
            board.set(&instance, State::Starting, 0, None);
            let task = tokio::spawn(async move { keeper::keep(instance, &launcher, &board, token).await });
            self.keepers.insert(instance, Keeper { stop, task });
        }
    }

    async fn stop(&mut self, instances: &[Instance]) {
        for keeper in instances.iter().filter_map(|instance| self.keepers.get(instance)) {
            keeper.stop.cancel();
        }
        for instance in instances {
            // Forgotten only when it is gone: if this wait is cut short, closing the shop waits again.
            if let Some(keeper) = self.keepers.get_mut(instance) {
                if let Err(error) = (&mut keeper.task).await {
                    say(&format!("warning: the keeper of {instance} ended badly: {error}"));
                }
                self.keepers.remove(instance);
            }
        }
    }

    async fn wait_until_ready(&self, instances: &[Instance]) -> Result<()> {
        let mut changes = self.board.subscribe();
        let problem = |status: &Status| {
            instances.iter().find_map(|instance| {
                let part = status.parts.get(&instance.to_string())?;
                (part.deaths > DEATHS_ALLOWED && part.state == State::Dead && !instance.is_optional())
                    .then(|| (*instance, part.last_death.clone()))
            })
        };
        let all_ready =
            |status: &Status| instances.iter().all(|instance| status.is_good(&instance.to_string()));
        let waited =
            timeout(READY_WITHIN, changes.wait_for(|status| all_ready(status) || problem(status).is_some()))
                .await;
        match waited {
            Ok(status) => match problem(&*status.context("the board is gone")?) {
                None => Ok(()),
                Some((instance, how)) => Err(self.could_not_start(
                    &instance,
                    &format!("died again and again ({})", how.unwrap_or_default()),
                )),
            },
            Err(_) => {
                let status = self.board.subscribe().borrow().clone();
                let mut needed = instances.iter().filter(|instance| !instance.is_optional());
                let late = needed.find(|instance| !status.is_ready(&instance.to_string()));
                match late {
                    Some(instance) => Err(self.could_not_start(
                        instance,
                        &format!("was not ready within {} s", READY_WITHIN.as_secs()),
                    )),
                    None => Ok(()),
                }
            }
        }
    }

    fn could_not_start(&self, instance: &Instance, what: &str) -> anyhow::Error {
        let log = self.place().log(instance);
        anyhow!(
            "{instance} {what}. The end of its log:\n\n{}\n\nAll of it is in {}",
            tail::last_lines(&log, 15),
            log.display()
        )
    }
}

/// Adds the other ports of the trace page and, of a cluster, of the nats-servers among these.
fn add_endpoints(instances: &mut BTreeSet<Instance>, cluster: bool) {
    for instance in instances.clone() {
        match instance.part {
            NATS if cluster => instances.extend([instance.also(NATS_ROUTES), instance.also(NATS_MONITOR)]),
            TRACES => instances.extend([instance.also(TRACES_OTLP)]),
            _ => {}
        }
    }
}

/// Processes that are running though nobody here has started them.
pub fn survivors(place: &Place) -> Vec<Instance> {
    let files = fs::read_dir(place.pids()).into_iter().flatten().flatten();
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".pid")?.to_owned()));
    names
        .filter(|name| Process::find(&place.pids(), name).is_some())
        .filter_map(|name| Instance::parse(&name))
        .collect()
}

fn bind_address() -> Result<IpAddr> {
    match std::env::var("BIND_ADDRESS").ok().filter(|address| !address.is_empty()) {
        None => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(address) => match address.parse() {
            Ok(address) => Ok(address),
            Err(_) => bail!("BIND_ADDRESS={address} is not an IP address such as 127.0.0.1 or 0.0.0.0"),
        },
    }
}

fn secret_names() -> Vec<String> {
    let mut names = vec![
        env_file::STAFF_TOKEN.to_owned(),
        databases::SUPERUSER.to_owned(),
        databases::password_name(databases::OPERATOR),
        nats_config::password_name(nats_config::ROUTES),
    ];
    for service in SERVICES {
        names.push(databases::password_name(&service.database()));
    }
    names.extend(permissions::users().map(nats_config::password_name));
    names
}
