//! What a shop is made of, in one table: the three servers everything stands on, the services, and the trace page,
//! without which everything works as well.
//!
//! Adding a service to the shop means adding its name and port here; its database, its user on the
//! broker, its address in the env file, its log and its process all follow from the name.

use std::fmt;

/// One kind of process in the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Name of the process, its log and its pid file; for a service and the mailbox also of its program.
    pub name: &'static str,
    /// The port it listens on unless told otherwise.
    pub port: u16,
    /// The environment variable that tells it otherwise.
    pub port_variable: &'static str,
}

pub const NATS: Part = Part { name: "nats", port: 4222, port_variable: "NATS_PORT" };
pub const POSTGRES: Part = Part { name: "postgres", port: 5432, port_variable: "POSTGRES_PORT" };
pub const MAILBOX: Part = Part { name: "mailbox", port: 1025, port_variable: "SMTP_PORT" };

/// Started before the services and stopped after them, in the opposite order.
pub const SERVERS: [Part; 3] = [NATS, POSTGRES, MAILBOX];

/// How many nats-servers a cluster has: `nats`, `nats-2`, `nats-3`. One may be lost.
pub const CLUSTER: u32 = 3;

/// The other ports of a nats-server that is one of a cluster: where the others reach it, and where it says
/// how it is. No processes of their own.
pub const NATS_ROUTES: Part = Part { name: "nats-routes", port: 6222, port_variable: "NATS_ROUTES_PORT" };
pub const NATS_MONITOR: Part = Part { name: "nats-monitor", port: 8222, port_variable: "NATS_MONITOR_PORT" };

/// The trace page. The shop opens without it if need be.
pub const TRACES: Part = Part { name: "traces", port: 16686, port_variable: "TRACES_PORT" };

/// Where the trace page receives spans. No process of its own.
pub const TRACES_OTLP: Part = Part { name: "traces-otlp", port: 4317, port_variable: "TRACES_OTLP_PORT" };

/// The services, all started at once. 8082 is kept for a control room.
pub const SERVICES: [Part; 8] = [
    Part { name: "card-processor", port: 8090, port_variable: "CARD_PROCESSOR_PORT" },
    Part { name: "order-api", port: 8080, port_variable: "ORDER_API_PORT" },
    Part { name: "kitchen-display", port: 8081, port_variable: "KITCHEN_DISPLAY_PORT" },
    Part { name: "payment", port: 8083, port_variable: "PAYMENT_PORT" },
    Part { name: "inventory", port: 8084, port_variable: "INVENTORY_PORT" },
    Part { name: "email", port: 8085, port_variable: "EMAIL_PORT" },
    Part { name: "loyalty", port: 8086, port_variable: "LOYALTY_PORT" },
    Part { name: "analytics", port: 8087, port_variable: "ANALYTICS_PORT" },
];

/// The service whose API serves the others as their payment company.
pub const CARD_PROCESSOR: Part = SERVICES[0];

/// Everything that has a port.
pub fn parts() -> impl Iterator<Item = Part> {
    SERVERS.into_iter().chain([NATS_ROUTES, NATS_MONITOR, TRACES, TRACES_OTLP]).chain(SERVICES)
}

/// The service of this name, or what to say to somebody who thought there was one.
pub fn service(name: &str) -> Result<Part, String> {
    SERVICES
        .iter()
        .find(|service| service.name == name)
        .copied()
        .ok_or_else(|| format!("there is no service {name:?}; there are {}", names(&SERVICES)))
}

/// Names of parts for a message: `nats, postgres, mailbox`.
pub fn names(parts: &[Part]) -> String {
    parts.iter().map(|part| part.name).collect::<Vec<_>>().join(", ")
}

impl Part {
    /// Name of the service's database and of the role that owns it.
    pub fn database(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Beginning of the service's variables in the env file: `ORDER_API`.
    pub fn variable(&self) -> String {
        self.database().to_uppercase()
    }
}

/// One process of a part. The first is called like the part, the others `payment-2`, `payment-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    pub part: Part,
    pub number: u32,
}

impl Instance {
    pub const fn first(part: Part) -> Self {
        Self { part, number: 1 }
    }

    /// Finds the instance of a name, for example of a pid file.
    pub fn parse(name: &str) -> Option<Self> {
        let (part, number) = match name.rsplit_once('-') {
            Some((part, number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                (part, number.parse().ok()?)
            }
            _ => (name, 1),
        };
        let instance = Self { part: parts().find(|known| known.name == part)?, number };
        (instance.to_string() == name).then_some(instance)
    }

    /// The server process of this name.
    pub fn server(name: &str) -> Option<Self> {
        let instance = Self::parse(name).filter(Self::is_server)?;
        let most = if instance.part == NATS { CLUSTER } else { 1 };
        (instance.number <= most).then_some(instance)
    }

    /// Another port of the same process.
    pub fn also(&self, part: Part) -> Self {
        Self { part, ..*self }
    }

    pub fn is_server(&self) -> bool {
        SERVERS.contains(&self.part)
    }

    /// Whether an order is answered and settled without it, so that on a busy machine it may come last.
    pub fn can_wait(&self) -> bool {
        ["email", "mailbox", "loyalty", "kitchen-display", "analytics", "traces"].contains(&self.part.name)
    }

    /// Whether nothing of the shop needs it.
    pub fn is_optional(&self) -> bool {
        self.part == TRACES
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => f.pad(self.part.name),
            number => f.pad(&format!("{}-{number}", self.part.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_instance_is_found_again_by_its_name() {
        for part in parts() {
            for number in [1, 2, 17] {
                let instance = Instance { part, number };
                assert_eq!(Instance::parse(&instance.to_string()), Some(instance));
            }
        }
    }

    #[test]
    fn a_name_that_is_nobodys_finds_no_instance() {
        for name in ["", "pay", "payment-", "payment-1", "payment-0x", "payment-02", "supervisor", "-2"] {
            assert_eq!(Instance::parse(name), None, "{name}");
        }
    }

    #[test]
    fn no_two_parts_want_the_same_port() {
        let ports: std::collections::BTreeSet<_> = parts().map(|part| part.port).collect();
        assert_eq!(ports.len(), parts().count());
    }
}
