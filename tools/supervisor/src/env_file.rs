//! What a shop tells the world: the environment of each service, and the file `.run/env` for people and
//! scripts, in which every address and credential has one name.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use crate::catalogue::{CARD_PROCESSOR, Instance, MAILBOX, NATS, POSTGRES, SERVICES};
use crate::place::{Place, write_private};
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::{databases, nats_config};

/// Name of the staff's token among the secrets.
pub const STAFF_TOKEN: &str = "staff-token";

pub struct Addresses<'a> {
    pub ports: &'a Ports,
    pub secrets: &'a Secrets,
    /// The address the services listen on.
    pub bind: IpAddr,
    pub staff_token: &'a str,
}

impl Addresses<'_> {
    /// The variables of one instance of a service, beside those the supervisor itself was given.
    pub fn of_service(&self, instance: &Instance) -> Vec<(String, String)> {
        let service = instance.part;
        let own = |name: &str, value: String| (name.to_owned(), value);
        vec![
            own("INSTANCE", instance.to_string()),
            own("HTTP_ADDR", SocketAddr::new(self.bind, self.ports.of(instance)).to_string()),
            own("DATABASE_URL", self.database(&service.database(), &service.database())),
            own("NATS_URL", self.nats(service.name)),
            own("CARD_PROCESSOR_URL", self.http(&Instance::first(CARD_PROCESSOR))),
            own("SMTP_URL", self.smtp()),
            own("STAFF_TOKEN", self.staff_token.to_owned()),
        ]
    }

    /// Everything in `.run/env`.
    pub fn of_shop(&self, place: &Place) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([
            ("MAIL_DIR".to_owned(), place.mail().display().to_string()),
            ("SMTP_URL".to_owned(), self.smtp()),
            ("STAFF_TOKEN".to_owned(), self.staff_token.to_owned()),
            ("OPERATOR_NATS_URL".to_owned(), self.nats(nats_config::OPERATOR)),
            ("OPERATOR_DATABASE_URL".to_owned(), self.database(databases::OPERATOR, "postgres")),
        ]);
        for service in SERVICES {
            let database = service.database();
            all.insert(format!("{}_URL", service.variable()), self.http(&Instance::first(service)));
            all.insert(format!("{}_DATABASE_URL", service.variable()), self.database(&database, &database));
        }
        all
    }

    /// The address of an instance's HTTP API as this machine reaches it.
    pub fn http(&self, instance: &Instance) -> String {
        let host = if self.bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { self.bind };
        format!("http://{}", SocketAddr::new(host, self.ports.of(instance)))
    }

    fn database(&self, role: &str, database: &str) -> String {
        let password = self.secrets.get(&databases::password_name(role));
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}",
            self.ports.of(&Instance::first(POSTGRES))
        )
    }

    fn nats(&self, user: &str) -> String {
        let password = self.secrets.get(&nats_config::password_name(user));
        format!("nats://{user}:{password}@127.0.0.1:{}", self.ports.of(&Instance::first(NATS)))
    }

    fn smtp(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.ports.of(&Instance::first(MAILBOX)))
    }
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
    use std::process::Command;

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
