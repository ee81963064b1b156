//! What a shop tells the world: the environment of each service, and the file `.run/env` for people and
//! scripts, in which every address and credential has one name.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use events::topology;

use crate::broker::Broker;
use crate::catalogue::{CARD_PROCESSOR, Instance, MAILBOX, POSTGRES, Part, SERVICES, TRACES, TRACES_OTLP};
use crate::place::{Place, write_private};
use crate::plan::Plan;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::{databases, nats_config};

/// Name of the staff's token among the secrets.
pub const STAFF_TOKEN: &str = "staff-token";

/// The variables a service is told, which therefore nobody else may set, and what to use instead.
pub const TOLD: [(&str, &str); 9] = [
    ("INSTANCE", ""),
    ("HTTP_ADDR", "; a variable such as PAYMENT_PORT chooses the port when the shop opens"),
    ("DATABASE_URL", "; see --via for another port of postgres"),
    ("NATS_URL", "; see --via for another port of nats"),
    ("CARD_PROCESSOR_URL", "; see --via for another port of card-processor"),
    ("SMTP_URL", "; see --via for another port of mailbox"),
    ("STREAM_REPLICAS", "; it is the number of the broker's servers, see --cluster"),
    ("NATS_CA", "; it is made or taken when the shop opens, see --tls"),
    ("STAFF_TOKEN", "; it is one for the whole shop: set it in the environment of `up`"),
];

/// Room for the name of a socket and the zero at its end (`sun_path`, 104 where it is shortest).
const SOCKET_NAME: usize = 104;

pub struct Addresses<'a> {
    pub ports: &'a Ports,
    pub secrets: &'a Secrets,
    pub broker: Broker,
    /// Who signed the broker's certificate, if it speaks TLS.
    pub broker_authority: Option<&'a Path>,
    /// The address the services listen on.
    pub bind: IpAddr,
    /// The folder of Postgres' socket.
    pub postgres: &'a Path,
    pub staff_token: &'a str,
}

impl Addresses<'_> {
    /// The variables of one instance of a service, beside those the supervisor itself was given.
    pub fn of_service(&self, instance: &Instance, plan: &Plan) -> Vec<(&'static str, String)> {
        let service = instance.part;
        let port = |of| plan.detour(service, of).unwrap_or_else(|| self.ports.of(&of));
        let card_processor = Instance::first(CARD_PROCESSOR);
        let card_processor = match plan.detour(service, card_processor) {
            Some(port) => format!("http://127.0.0.1:{port}"),
            None => self.http(&card_processor),
        };
        let mut told = vec![
            ("INSTANCE", instance.to_string()),
            ("HTTP_ADDR", SocketAddr::new(self.bind, self.ports.of(instance)).to_string()),
            ("DATABASE_URL", self.database_of(service, plan)),
            ("CARD_PROCESSOR_URL", card_processor),
            ("SMTP_URL", smtp(port)),
            ("STAFF_TOKEN", self.staff_token.to_owned()),
        ];
        // The payment company is no part of the shop and has no user on its broker.
        if topology::service(service.name).is_some() {
            told.push(("NATS_URL", self.nats(service.name, port)));
            told.push(("STREAM_REPLICAS", self.broker.replicas().to_string()));
            told.extend(self.nats_ca().map(|file| ("NATS_CA", file)));
        }
        told
    }

    fn nats_ca(&self) -> Option<String> {
        self.broker_authority.map(|file| file.display().to_string())
    }

    /// Everything in `.run/env`.
    pub fn of_shop(&self, place: &Place, plan: &Plan) -> BTreeMap<String, String> {
        let port = |of| self.ports.of(&of);
        let mut all = BTreeMap::from([
            ("MAIL_DIR".to_owned(), place.mail().display().to_string()),
            ("SMTP_URL".to_owned(), smtp(port)),
            ("STAFF_TOKEN".to_owned(), self.staff_token.to_owned()),
            ("OPERATOR_NATS_URL".to_owned(), self.nats(nats_config::OPERATOR, port)),
            ("OPERATOR_DATABASE_URL".to_owned(), self.database(databases::OPERATOR, "postgres", port)),
        ]);
        all.extend(self.nats_ca().map(|file| ("NATS_CA".to_owned(), file)));
        let socket = self.socket_folder(port(Instance::first(POSTGRES)));
        all.extend(socket.map(|folder| ("POSTGRES_SOCKET".to_owned(), folder.to_owned())));
        for service in SERVICES {
            let (name, variable) = (service.database(), service.variable());
            all.insert(format!("{variable}_URL"), self.http(&Instance::first(service)));
            all.insert(format!("{variable}_DATABASE_URL"), self.database(&name, &name, port));
        }
        if plan.has_traces() {
            all.insert("TRACES_URL".to_owned(), self.http(&Instance::first(TRACES)));
            all.insert("TRACES_OTLP_URL".to_owned(), self.otlp());
        }
        all
    }

    /// Where the trace page receives spans.
    pub fn otlp(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.of(&Instance::first(TRACES_OTLP)))
    }

    /// The address of an instance's HTTP API as this machine reaches it.
    pub fn http(&self, instance: &Instance) -> String {
        let host = if self.bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { self.bind };
        format!("http://{}", SocketAddr::new(host, self.ports.of(instance)))
    }

    /// By the socket, which costs less than the port, unless there is a detour.
    fn database_of(&self, service: Part, plan: &Plan) -> String {
        let (name, postgres) = (service.database(), Instance::first(POSTGRES));
        let detour = plan.detour(service, postgres);
        let port = detour.unwrap_or_else(|| self.ports.of(&postgres));
        let url = self.database(&name, &name, |_| port);
        match self.socket_folder(port).filter(|_| detour.is_none()) {
            Some(folder) => format!("{url}?host={folder}"),
            None => url,
        }
    }

    /// Where its name fits into the address of a socket, and needs no quotes in a URL.
    fn socket_folder(&self, port: u16) -> Option<&str> {
        let is_plain =
            |folder: &&str| folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
        let is_short = |folder: &&str| format!("{folder}/.s.PGSQL.{port}").len() < SOCKET_NAME;
        self.postgres.to_str().filter(is_plain).filter(is_short)
    }

    fn database(&self, role: &str, database: &str, port: impl Fn(Instance) -> u16) -> String {
        let password = self.secrets.get(&databases::password_name(role));
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", port(Instance::first(POSTGRES)))
    }

    fn nats(&self, user: &str, port: impl Fn(Instance) -> u16) -> String {
        let password = self.secrets.get(&nats_config::password_name(user));
        let scheme = if self.broker_authority.is_some() { "tls" } else { "nats" };
        let url = |server| format!("{scheme}://{user}:{password}@127.0.0.1:{}", port(server));
        self.broker.servers().into_iter().map(url).collect::<Vec<_>>().join(",")
    }
}

fn smtp(port: impl Fn(Instance) -> u16) -> String {
    format!("smtp://127.0.0.1:{}", port(Instance::first(MAILBOX)))
}

pub fn write(place: &Place, variables: &BTreeMap<String, String>) -> Result<()> {
    let lines: String =
        variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    write_private(&place.env_file(), &lines)
}

/// Reads back what [`write()`] wrote.
pub fn read(place: &Place) -> Result<BTreeMap<String, String>> {
    let path = place.env_file();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquoted(value)))
        .collect()
}

/// Quotes for any shell: nothing inside single quotes means anything, but the quote itself.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
    inner.replace(r"'\''", "'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    #[test]
    fn what_a_service_is_told_is_what_nobody_else_may_set() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { run: folder.path().into(), project: "/".into(), programs: "/".into() };
        let payment = Instance::first(crate::catalogue::service("payment").unwrap());
        let names = [databases::password_name("payment"), nats_config::password_name("payment")];
        let secrets = Secrets::load_or_create(&place, names).unwrap();
        let mut ports = Ports::default();
        let used = [crate::catalogue::NATS, POSTGRES, MAILBOX, CARD_PROCESSOR].map(Instance::first);
        let bind = Ipv4Addr::LOCALHOST.into();
        let wishes = crate::ports::Wishes::from_env(bind).unwrap();
        ports.settle(&[&used[..], &[payment]].concat(), &Default::default(), &wishes).unwrap();
        let broker = Broker::Single;
        let broker_authority = Some(Path::new("/ca.pem"));
        let postgres = &place.postgres();
        let addresses = Addresses {
            ports: &ports,
            secrets: &secrets,
            broker,
            broker_authority,
            bind,
            postgres,
            staff_token: "t",
        };
        let told: BTreeSet<_> =
            addresses.of_service(&payment, &Plan::default()).into_iter().map(|v| v.0).collect();
        assert_eq!(told, TOLD.map(|(name, _)| name).into());
    }

    #[test]
    fn a_shell_reads_a_quoted_value_as_it_was() {
        for value in ["plain", "", "a b", "it's", "''", "$HOME `id` \"x\" \\ ; & #", "naïve/日本"] {
            let script = format!("printf %s {}", quoted(value));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
            assert_eq!(unquoted(&quoted(value)), value);
        }
    }
}
