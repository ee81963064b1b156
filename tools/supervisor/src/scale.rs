//! How many processes of a part are wanted: any number of a service, and of a server or the trace page one or none.
//!
//! A server with none is held stopped while everything else runs on, which is how somebody finds out what
//! the shop does without its broker or its database.

use std::fmt;
use std::str::FromStr;

use crate::catalogue::{self, Instance, SERVERS, SERVICES, TRACES};

const MOST: u32 = 20;

/// One `--scale payment=3` or `--scale nats=0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The server, the trace page, or the first instance of the service.
    pub of: Instance,
    pub count: u32,
}

impl Change {
    /// Whether a server is to be stopped and stay so.
    pub fn holds(&self) -> bool {
        self.of.is_server() && self.count == 0
    }
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) =
            text.split_once('=').ok_or("say it as part=number, for example payment=3 or nats=0")?;
        let of = Instance::server(name)
            .or_else(|| (name == TRACES.name).then(|| Instance::first(TRACES)))
            .or_else(|| catalogue::service(name).ok().map(Instance::first))
            .ok_or_else(|| {
                let (servers, services) = (catalogue::names(&SERVERS), catalogue::names(&SERVICES));
                format!("there is no service or server {name:?}; there are {services}, {servers} and traces")
            })?;
        let most = if of.is_server() || of.is_optional() { 1 } else { MOST };
        match count.parse() {
            Ok(count) if count <= most => Ok(Self { of, count }),
            _ if of.is_server() => Err(format!("{name} is 0 (held stopped) or 1 (running), not {count:?}")),
            _ if of.is_optional() => Err(format!("{name} is 0 (not running) or 1 (running), not {count:?}")),
            _ => Err(format!("the number of instances of {name} must be 0 to {MOST}, not {count:?}")),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.of, self.count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_said_is_said_again() {
        for text in ["payment=3", "order-api=0", "nats=0", "nats-3=1", "postgres=1", "mailbox=0", "traces=0"]
        {
            assert_eq!(text.parse::<Change>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_a_server_is_held() {
        for (text, held) in [("nats=0", true), ("nats=1", false), ("payment=0", false), ("traces=0", false)] {
            assert_eq!(text.parse::<Change>().unwrap().holds(), held, "{text}");
        }
    }

    #[test]
    fn a_scale_that_makes_no_sense_says_what_would() {
        for (text, part) in [
            ("payment", "part=number"),
            ("paymant=2", "there is no service or server \"paymant\""),
            ("paymant=2", "order-api"),
            ("nats=2", "0 (held stopped) or 1 (running), not \"2\""),
            ("nats-4=0", "there is no service or server \"nats-4\""),
            ("nats-routes=0", "there is no service or server \"nats-routes\""),
            ("traces=2", "0 (not running) or 1 (running), not \"2\""),
            ("traces-otlp=0", "there is no service or server \"traces-otlp\""),
            ("postgres-2=0", "there is no service or server \"postgres-2\""),
            ("payment-2=0", "there is no service or server \"payment-2\""),
            ("payment=-1", "0 to 20"),
            ("payment=21", "0 to 20"),
            ("payment=", "0 to 20"),
        ] {
            let error = text.parse::<Change>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
