//! A detour sends one service to another port for something it uses, where a proxy listens: the only way
//! to slow down or cut the connections of one service and leave those of all others alone.

use std::fmt;
use std::str::FromStr;

use crate::catalogue::{self, CARD_PROCESSOR, Instance, Part, SERVERS};

/// One `--via payment.nats=4333`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detour {
    pub service: Part,
    /// What the service wants to reach.
    pub to: Instance,
    /// The port on 127.0.0.1 it is told; none takes the detour back.
    pub port: Option<u16>,
}

impl Detour {
    /// Whether both are about the same way.
    pub fn replaces(&self, other: &Self) -> bool {
        (self.service, self.to) == (other.service, other.to)
    }
}

impl FromStr for Detour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (way, port) = match text.split_once('=') {
            Some((way, port)) => (way, Some(port)),
            None => (text, None),
        };
        let (service, to) = way.split_once('.').ok_or(
            "say it as service.part=port, for example payment.nats=4333; payment.nats alone takes it back",
        )?;
        let service = catalogue::service(service)?;
        let to = Instance::server(to)
            .or_else(|| Instance::parse(to).filter(|part| *part == Instance::first(CARD_PROCESSOR)))
            .ok_or_else(|| {
                let parts = catalogue::names(&SERVERS);
                format!("no service is told the port of {to:?}; it can be {parts} or {}", CARD_PROCESSOR.name)
            })?;
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(format!("{text}: the port must be a number from 1 to 65535")),
        };
        Ok(Self { service, to, port })
    }
}

impl fmt::Display for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service.name, self.to)?;
        self.port.map_or(Ok(()), |port| write!(f, "={port}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_said_is_said_again() {
        for text in
            ["payment.nats=4333", "order-api.postgres=1", "payment.card-processor=65535", "email.mailbox"]
        {
            assert_eq!(text.parse::<Detour>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_detour_that_makes_no_sense_says_what_would() {
        for (text, part) in [
            ("payment=4333", "service.part=port"),
            ("paymant.nats=4333", "there is no service \"paymant\""),
            ("nats.postgres=4333", "there is no service \"nats\""),
            ("payment.broker=4333", "nats, postgres, mailbox or card-processor"),
            ("payment.loyalty=4333", "no service is told the port of \"loyalty\""),
            ("payment.nats=", "1 to 65535"),
            ("payment.nats=0", "1 to 65535"),
            ("payment.nats=65536", "1 to 65535"),
            ("payment.nats=127.0.0.1:4333", "1 to 65535"),
        ] {
            let error = text.parse::<Detour>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
