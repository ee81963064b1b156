//! What each service may do on the broker: publish what it says, read its own consumers, make what of both is
//! missing. All of it is derived from the [topology]. The shop without containers, the one in containers and
//! the tests have their broker's users from here, so a new service needs nothing but its lines there.
//!
//! The broker looks at the subject of a request and not at where its answer goes. So no service may ask for
//! anything whose answer could pass for an event: `DIRECT.GET` answers with a stored message under the subject
//! it is sent to, and sent into a stream that would be a forgery. (Pulled messages keep their own subject.)

use std::fmt::Write;

use crate::topology::{
    self, ConsumerSpec, KEEPS_STREAMS, SERVICES, STREAMS, ServiceSpec, StreamSpec, WATCHES_BROKER,
};

/// The broker's user for people and tools, who may do everything.
pub const OPERATOR: &str = "operator";

/// Subjects, with the broker's wildcards. What is not named is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
}

/// Where the answers to a user's requests go. Each has a place of its own, so nobody reads another's.
pub fn inbox(user: &str) -> String {
    format!("_INBOX_{user}")
}

impl Permissions {
    pub fn of(service: &ServiceSpec) -> Permissions {
        let mut publish: Vec<String> = service.subjects().into_iter().map(|(_, subject)| subject).collect();
        publish.extend(service.streams().into_iter().flat_map(|stream| uses(service, stream)));
        publish.extend(service.consumers().flat_map(reads));
        if service.name == KEEPS_STREAMS {
            for request in ["STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE"] {
                publish.extend(STREAMS.iter().map(|stream| api(request, stream.name)));
            }
        }
        if service.name == WATCHES_BROKER {
            publish.extend(STREAMS.iter().map(|stream| api("STREAM.INFO", stream.name)));
            publish.push(api("CONSUMER.INFO", "*.*"));
        }
        let mut seen = Vec::new();
        publish.retain(|subject| {
            let is_new = !seen.contains(subject);
            seen.push(subject.clone());
            is_new
        });
        Permissions { publish, subscribe: vec![format!("{}.>", inbox(service.name))] }
    }
}

/// `$JS.API.STREAM.INFO.ORDERS` (<https://docs.nats.io/reference/reference-protocols/nats_api_reference>).
fn api(request: &str, of: &str) -> String {
    format!("$JS.API.{request}.{of}")
}

/// A stream is made when it is missing, and compared with what was published to it.
fn uses(service: &ServiceSpec, stream: &StreamSpec) -> Vec<String> {
    let mut may = vec![api("STREAM.INFO", stream.name), api("STREAM.CREATE", stream.name)];
    if stream.is_heard() {
        may.push(api("STREAM.MSG.GET", stream.name));
    } else {
        // A look at what it wrote itself: the broker holds the filter to the subject of the request.
        let own = service.subjects().into_iter().filter(|(to, _)| *to == stream);
        may.extend(own.map(|(_, subject)| api("CONSUMER.CREATE", &format!("{}.*.{subject}", stream.name))));
    }
    may
}

/// A consumer is made when it is missing, read, and acknowledged. A partition's new reader sets it back.
fn reads(consumer: &'static ConsumerSpec) -> Vec<String> {
    let stream = consumer.stream.name;
    let durables = consumer.durables().into_iter().map(move |(durable, _)| format!("{stream}.{durable}"));
    durables
        .flat_map(|of| {
            let reset = consumer.partitioned.then(|| api("CONSUMER.RESET", &of));
            let requests = ["CONSUMER.CREATE", "CONSUMER.INFO", "CONSUMER.MSG.NEXT"];
            let requests = requests.map(|request| api(request, &of));
            requests.into_iter().chain(reset).chain([format!("$JS.ACK.{of}.>")]).collect::<Vec<_>>()
        })
        .collect()
}

/// The users of a nats-server, as its configuration has them. `password` is written as it is: quoted, or the
/// name of a variable.
pub fn nats_users(password: impl Fn(&str) -> String) -> String {
    let mut text = "users: [\n".to_owned();
    for service in &SERVICES {
        let Permissions { publish, subscribe } = Permissions::of(service);
        let name = service.name;
        let _ = writeln!(text, "  {{ user: \"{name}\", password: {}, permissions: {{", password(name));
        let _ = writeln!(text, "    publish: {{ allow: {} }}", list(&publish));
        let _ = writeln!(text, "    subscribe: {{ allow: {} }}\n  }} }}", list(&subscribe));
    }
    let _ = writeln!(text, "  {{ user: \"{OPERATOR}\", password: {} }}\n]", password(OPERATOR));
    text
}

fn list(subjects: &[String]) -> String {
    let subjects = subjects.iter().map(|subject| format!("      \"{subject}\"\n"));
    format!("[\n{}    ]", subjects.collect::<String>())
}

/// Everybody who signs in to the broker.
pub fn users() -> impl Iterator<Item = &'static str> {
    topology::SERVICES.iter().map(|service| service.name).chain([OPERATOR])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(service: &str, subject: &str) -> bool {
        let permissions = Permissions::of(topology::service(service).expect("it is there"));
        permissions.publish.iter().any(|allowed| matches(allowed, subject))
    }

    fn matches(allowed: &str, subject: &str) -> bool {
        let (mut allowed, mut subject) = (allowed.split('.'), subject.split('.'));
        loop {
            match (allowed.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(a), Some(s)) if a == "*" || a == s => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn a_service_says_its_own_events_and_no_others() {
        assert!(may("payment", "orders.payment-captured.3") && may("order-api", "orders.created.0"));
        for subject in ["orders.created.0", "orders.created", "orders.redrive.payment.0", "emails.received"] {
            assert!(!may("payment", subject), "{subject}");
        }
        assert!(may("email", "emails.received") && !may("email", "orders.ready.1"));
    }

    #[test]
    fn letters_are_written_and_looked_at_by_the_consumers_own_service() {
        assert!(may("email", "dlq.email-worker") && may("email", "$JS.API.CONSUMER.CREATE.DLQ.x.dlq.email"));
        for subject in [
            "dlq.payment",
            "dlq.email.discarded",
            "$JS.API.STREAM.MSG.GET.DLQ",
            "$JS.API.CONSUMER.CREATE.DLQ.x",
            "$JS.API.CONSUMER.CREATE.DLQ",
            "$JS.API.CONSUMER.CREATE.DLQ.x.dlq.payment",
        ] {
            assert!(!may("email", subject), "{subject}");
        }
    }

    #[test]
    fn nobody_reads_with_another_ones_consumer_or_destroys_a_stream() {
        for service in &SERVICES {
            for request in
                ["STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "DIRECT.GET", "CONSUMER.DELETE"]
            {
                assert!(!may(service.name, &api(request, "ORDERS")), "{} {request}", service.name);
                assert!(!may(service.name, &api(request, "ORDERS.loyalty")), "{} {request}", service.name);
            }
            assert_eq!(may(service.name, "$JS.API.STREAM.UPDATE.ORDERS"), service.name == "order-api");
            let foreign = topology::CONSUMERS.iter().filter(|consumer| consumer.service != service.name);
            for (durable, of) in
                foreign.flat_map(|c| c.durables().into_iter().map(|(d, _)| (d, c.stream.name)))
            {
                for request in ["CONSUMER.CREATE", "CONSUMER.MSG.NEXT", "CONSUMER.RESET"] {
                    assert!(!may(service.name, &api(request, &format!("{of}.{durable}"))), "{durable}");
                }
                assert!(!may(service.name, &format!("$JS.ACK.{of}.{durable}.1.1.1.1.0")));
            }
        }
    }

    #[test]
    fn only_the_partitions_of_a_partitioned_consumer_are_set_back() {
        assert!(may("kitchen-display", "$JS.API.CONSUMER.RESET.ORDERS.kitchen-display-7"));
        assert!(!may("payment", "$JS.API.CONSUMER.RESET.ORDERS.payment"));
    }
}
