//! Which streams there are, who says what and who hears what: the one map of the shop. Services declare their
//! consumers from it, the broker's [permissions](crate::permissions) follow from it, and the operator's tool
//! audits against it.
//!
//! **Names here are identities.** Renaming a stream strands its messages; renaming a consumer makes it read
//! its whole stream again.

use std::time::Duration;

use crate::{EventType, OrderId};

const HOUR: u64 = 60 * 60;
const KIB: i64 = 1024;
const GIB: i64 = 1024 * 1024 * KIB;

/// How long a stream keeps a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Until age or size limits push it out: a newspaper.
    Limits,
    /// Until its one worker has acknowledged it: mail.
    WorkQueue,
}

/// A JetStream stream. Full streams refuse new messages instead of dropping old ones, so that pressure
/// builds up in the senders' outboxes and nothing is lost.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamSpec {
    pub name: &'static str,
    pub subjects: &'static [&'static str],
    pub retention: Retention,
    pub max_age: Duration,
    pub max_bytes: i64,
    /// Body and headers of one message. Events get less than dead letters, which add headers of their own.
    pub max_message_bytes: i32,
}

pub const ORDERS: StreamSpec = StreamSpec {
    name: "ORDERS",
    subjects: &["orders.>"],
    retention: Retention::Limits,
    max_age: Duration::from_secs(7 * 24 * HOUR),
    max_bytes: 8 * GIB,
    max_message_bytes: 768 * KIB as i32,
};

pub const EMAILS: StreamSpec = StreamSpec {
    name: "EMAILS",
    subjects: &["emails.>"],
    retention: Retention::WorkQueue,
    max_age: Duration::from_secs(7 * 24 * HOUR),
    max_bytes: GIB,
    max_message_bytes: 768 * KIB as i32,
};

/// Dead letters wait for a person, so nothing ages out; `dlq.<consumer>.discarded` remembers what was thrown
/// away and why.
pub const DLQ: StreamSpec = StreamSpec {
    name: "DLQ",
    subjects: &["dlq.*", "dlq.*.discarded"],
    retention: Retention::Limits,
    max_age: Duration::ZERO,
    max_bytes: GIB,
    max_message_bytes: 960 * KIB as i32,
};

pub const STREAMS: [&StreamSpec; 3] = [&ORDERS, &EMAILS, &DLQ];

/// A durable position in a stream, shared by all instances of one service.
#[derive(Debug, PartialEq, Eq)]
pub struct ConsumerSpec {
    pub name: &'static str,
    /// The service it belongs to; its database is the same name with `_` for `-`.
    pub service: &'static str,
    pub stream: &'static StreamSpec,
    pub hears: Hears,
    /// One reader at a time for each of the [`PARTITIONS`], so that an order's events stay in order.
    pub partitioned: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Hears {
    Types(&'static [EventType]),
    /// Every event of the stream, known or not.
    Everything,
}

use EventType::{
    OrderCancelled, OrderConfirmed, OrderCreated, OrderReady, PaymentCaptured, PaymentDeclined,
    PaymentRefunded, StockRejected, StockReleased, StockReserved, TicketReady, TicketStarted,
};

pub const ORDER_API: ConsumerSpec = shared(
    "order-api",
    Hears::Types(&[
        PaymentCaptured,
        PaymentDeclined,
        PaymentRefunded,
        StockReserved,
        StockRejected,
        StockReleased,
        TicketStarted,
        TicketReady,
    ]),
);
pub const PAYMENT: ConsumerSpec = shared("payment", Hears::Types(&[OrderCreated, OrderCancelled]));
pub const INVENTORY: ConsumerSpec = shared("inventory", Hears::Types(&[OrderCreated, OrderCancelled]));
pub const EMAIL: ConsumerSpec = shared("email", Hears::Types(&[OrderCreated, OrderCancelled, OrderReady]));
pub const LOYALTY: ConsumerSpec = shared("loyalty", Hears::Types(&[OrderCreated, OrderCancelled]));
pub const ANALYTICS: ConsumerSpec = shared("analytics", Hears::Everything);
pub const KITCHEN_DISPLAY: ConsumerSpec = ConsumerSpec {
    partitioned: true,
    ..shared("kitchen-display", Hears::Types(&[OrderCreated, OrderConfirmed, OrderCancelled]))
};
pub const EMAIL_WORKER: ConsumerSpec =
    ConsumerSpec { name: "email-worker", stream: &EMAILS, ..shared("email", Hears::Everything) };

pub const CONSUMERS: [&ConsumerSpec; 8] =
    [&ORDER_API, &PAYMENT, &INVENTORY, &EMAIL, &LOYALTY, &ANALYTICS, &KITCHEN_DISPLAY, &EMAIL_WORKER];

/// A service on the broker. What it hears is in [`CONSUMERS`].
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    pub name: &'static str,
    /// The broker refuses any other event from it.
    pub says: &'static [EventType],
}

pub const SERVICES: [ServiceSpec; 7] = [
    says("order-api", &[OrderCreated, OrderConfirmed, OrderCancelled, OrderReady]),
    says("payment", &[PaymentCaptured, PaymentDeclined, PaymentRefunded]),
    says("inventory", &[StockReserved, StockRejected, StockReleased]),
    says("email", &[]),
    says("loyalty", &[]),
    says("kitchen-display", &[TicketStarted, TicketReady]),
    says("analytics", &[]),
];

/// The service that brings the limits of the streams up to date when they are set differently: whoever may do
/// that can also ruin them. It is the one that is believed most anyway.
pub const KEEPS_STREAMS: &str = "order-api";
/// The service that tells Prometheus how far everybody is.
pub const WATCHES_BROKER: &str = "analytics";

const fn says(name: &'static str, says: &'static [EventType]) -> ServiceSpec {
    ServiceSpec { name, says }
}

const fn shared(name: &'static str, hears: Hears) -> ConsumerSpec {
    ConsumerSpec { name, service: name, stream: &ORDERS, hears, partitioned: false }
}

/// Partitions of the order ids. Changing it moves orders between partitions; stop the shop to do so.
pub const PARTITIONS: u32 = 8;

/// The partition of an order: FNV-1a of its id (draft-eastlake-fnv), modulo [`PARTITIONS`].
pub fn partition(order_id: &OrderId) -> u32 {
    let hash = order_id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % u64::from(PARTITIONS)) as u32
}

/// Where an event is published: `orders.created.3`.
pub fn subject(event_type: EventType, order_id: &OrderId) -> String {
    format!("orders.{}.{}", event_type.token(), partition(order_id))
}

/// The service of this name, if it is on the broker.
pub fn service(name: &str) -> Option<&'static ServiceSpec> {
    SERVICES.iter().find(|service| service.name == name)
}

/// The event type a subject promises, if it promises one: `orders.created` and `orders.created.3` do, the
/// subject of a redrive does not.
pub fn promised_type(subject: &str) -> Option<EventType> {
    let token = subject.strip_prefix("orders.")?.split('.').next()?;
    EventType::ALL.iter().copied().find(|event_type| event_type.token() == token)
}

impl ServiceSpec {
    pub fn consumers(&self) -> impl Iterator<Item = &'static ConsumerSpec> {
        CONSUMERS.into_iter().filter(|consumer| consumer.service == self.name)
    }

    /// The subjects it publishes on. The relay adds a partition to those of events; a queue is filled by the
    /// service that works it off; what a consumer gives up on is a letter of its own.
    pub fn subjects(&self) -> Vec<(&'static StreamSpec, String)> {
        let events =
            self.says.iter().map(|says| (&ORDERS, format!("{}.{}.*", ORDERS.prefix(), says.token())));
        let tasks = self
            .consumers()
            .filter(|consumer| consumer.stream.retention == Retention::WorkQueue)
            .map(|consumer| (consumer.stream, format!("{}.>", consumer.stream.prefix())));
        let letters = self.consumers().map(|consumer| (&DLQ, consumer.letters()));
        events.chain(tasks).chain(letters).collect()
    }

    /// The streams it reads or publishes to, which are those it makes when they are missing.
    pub fn streams(&self) -> Vec<&'static StreamSpec> {
        let written = self.subjects();
        let is_used = |stream: &StreamSpec| {
            written.iter().any(|(to, _)| *to == stream) || self.consumers().any(|of| of.stream == stream)
        };
        STREAMS.into_iter().filter(|stream| is_used(stream)).collect()
    }
}

impl StreamSpec {
    /// Whether a service reads it. Dead letters are read by people only.
    pub fn is_heard(&self) -> bool {
        CONSUMERS.iter().any(|consumer| consumer.stream == self)
    }

    /// Whether nobody removes single messages from it, so that one that is missing was lost. Tasks leave
    /// their queue when they are done, dead letters when they were dealt with.
    pub fn is_log(&self) -> bool {
        self == &ORDERS
    }

    /// `orders` for `ORDERS`: the first token of its subjects.
    pub fn prefix(&self) -> &'static str {
        self.subjects[0].split('.').next().expect("split yields at least one token")
    }
}

impl ConsumerSpec {
    /// The subjects it hears; of a partitioned consumer those of one partition. Subjects without a
    /// partition token, as published by hand, belong to partition 0.
    ///
    /// A redriven event comes on a subject of four tokens, which no other consumer's filter matches.
    pub fn filters(&self, partition: Option<u32>) -> Vec<String> {
        let prefix = self.stream.prefix();
        if self.stream.retention == Retention::WorkQueue {
            return vec![format!("{prefix}.>")];
        }
        let token = partition.map_or("*".to_owned(), |partition| partition.to_string());
        let bare = partition.is_none_or(|partition| partition == 0);
        let names: Vec<&str> = match &self.hears {
            Hears::Types(types) => types.iter().map(|event_type| event_type.token()).collect(),
            Hears::Everything => vec!["*"],
        };
        let mut filters = vec![format!("{prefix}.redrive.{}.{token}", self.name)];
        for name in names {
            filters.push(format!("{prefix}.{name}.{token}"));
            if bare {
                filters.push(format!("{prefix}.{name}"));
            }
        }
        filters
    }

    /// Where what it gives up on is kept: `dlq.payment`.
    pub fn letters(&self) -> String {
        format!("{}.{}", DLQ.prefix(), self.name)
    }

    /// Where a dead letter of this consumer goes back to: heard by nobody else.
    pub fn redrive_subject(&self, original_subject: &str) -> String {
        let last = original_subject.rsplit('.').next().unwrap_or_default();
        let partition = last.parse::<u32>().ok().filter(|partition| *partition < PARTITIONS).unwrap_or(0);
        format!("{}.redrive.{}.{partition}", self.stream.prefix(), self.name)
    }

    /// Name of its durable consumer on the broker; a partitioned one has one for each partition.
    pub fn durable(&self, partition: Option<u32>) -> String {
        partition.map_or(self.name.to_owned(), |partition| format!("{}-{partition}", self.name))
    }

    /// Names of all its durable consumers, with the partition of each.
    pub fn durables(&self) -> Vec<(String, Option<u32>)> {
        let partitions = if self.partitioned { (0..PARTITIONS).map(Some).collect() } else { vec![None] };
        partitions.into_iter().map(|partition| (self.durable(partition), partition)).collect()
    }

    /// Whether this consumer is meant to process a message published on `subject`.
    pub fn is_heard(&self, subject: &str) -> bool {
        let tokens: Vec<&str> = subject.split('.').collect();
        self.filters(None).iter().any(|filter| {
            let filter: Vec<&str> = filter.split('.').collect();
            match filter.last() {
                Some(&">") => tokens.len() >= filter.len() && tokens[0] == filter[0],
                _ => {
                    filter.len() == tokens.len()
                        && filter.iter().zip(&tokens).all(|(f, t)| *f == "*" || f == t)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_said_by_one_service_and_every_consumer_belongs_to_one() {
        for event_type in EventType::ALL {
            let sayers = SERVICES.iter().filter(|service| service.says.contains(event_type)).count();
            assert_eq!(sayers, 1, "{event_type:?}");
        }
        assert!(CONSUMERS.iter().all(|consumer| service(consumer.service).is_some()));
        assert!([KEEPS_STREAMS, WATCHES_BROKER].iter().all(|name| service(name).is_some()));
    }

    #[test]
    fn a_service_makes_the_streams_it_uses() {
        let names =
            |name| service(name).expect("it is there").streams().iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names("payment"), ["ORDERS", "DLQ"]);
        assert_eq!(names("email"), ["ORDERS", "EMAILS", "DLQ"]);
    }

    #[test]
    fn every_event_is_heard_by_hand_and_from_the_relay() {
        for subject in ["orders.created", "orders.created.7"] {
            let hearers: Vec<_> = CONSUMERS.iter().filter(|c| c.is_heard(subject)).map(|c| c.name).collect();
            assert_eq!(hearers, ["payment", "inventory", "email", "loyalty", "analytics", "kitchen-display"]);
        }
    }

    #[test]
    fn a_redriven_event_is_heard_by_its_consumer_alone() {
        for consumer in CONSUMERS.iter().filter(|c| c.stream == &ORDERS) {
            let subject = consumer.redrive_subject("orders.created.3");
            let hearers: Vec<_> = CONSUMERS.iter().filter(|c| c.is_heard(&subject)).map(|c| c.name).collect();
            assert_eq!(hearers, [consumer.name]);
        }
    }

    #[test]
    fn each_subject_belongs_to_exactly_one_partition() {
        for subject in ["orders.created", "orders.created.0", "orders.created.5"] {
            let owners = (0..PARTITIONS)
                .filter(|n| KITCHEN_DISPLAY.filters(Some(*n)).contains(&subject.to_owned()))
                .count();
            assert_eq!(owners, 1, "{subject}");
        }
    }

    #[test]
    fn orders_spread_over_all_partitions() {
        let ids = (0..1_000).map(|n| OrderId::try_from(format!("order-{n}")).expect("valid"));
        let mut counts = [0; PARTITIONS as usize];
        ids.for_each(|id| counts[partition(&id) as usize] += 1);
        assert!(counts.iter().all(|count| (60..=200).contains(count)), "{counts:?}");
    }
}
