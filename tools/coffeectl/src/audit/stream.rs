//! The stream ORDERS, read once from end to end and kept in little memory: what stands where, and what it
//! tells of each order.
//!
//! Messages are read exactly as a consumer reads them, so that what the audit expects of a consumer is what
//! the consumer could know.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use async_nats::HeaderMap;
use events::{Data, Event, Item, OrderCreated};
use messaging::{Message, dead_letter};

use super::order::Orders;

/// A fingerprint of an event's id: a stream of millions fits into memory, and among millions of 64-bit
/// fingerprints a false match is less likely than a disk error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey(u64);

impl EventKey {
    /// A redriven event is the same event.
    pub fn of(event_id: &str) -> EventKey {
        let original = event_id.split_once(":redrive:").map_or(event_id, |(original, _)| original);
        let mut hasher = DefaultHasher::new();
        original.hash(&mut hasher);
        EventKey(hasher.finish())
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub sequence: u64,
    pub event: EventKey,
    subject: u32,
}

/// What the stream tells of one order.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The event that created it.
    pub created_by: Option<EventKey>,
    /// Kept for orders that the order API does not know; the others are in its database.
    pub created: Option<OrderCreated>,
    /// Two events by hand created this order differently; who came first is not for the audit to say.
    pub contradictory: bool,
    pub confirmed: bool,
    pub cancelled: bool,
    pub ready: bool,
    pub captured_cents: i64,
    pub refunded_cents: i64,
}

#[derive(Debug, Default)]
pub struct StreamLog {
    pub entries: Vec<Entry>,
    pub orders: HashMap<String, Told>,
    /// The stream has let go of its oldest messages, so an order it does not know may have been there.
    pub forgetful: bool,
    pub unreadable: usize,
    subjects: Vec<String>,
    subject_numbers: HashMap<String, u32>,
    wanted: HashMap<u64, Option<String>>,
}

impl StreamLog {
    /// `wanted`: sequences whose order will be asked for.
    pub fn new(wanted: impl IntoIterator<Item = u64>) -> StreamLog {
        StreamLog { wanted: wanted.into_iter().map(|n| (n, None)).collect(), ..StreamLog::default() }
    }

    pub fn subject(&self, entry: &Entry) -> &str {
        &self.subjects[entry.subject as usize]
    }

    pub fn subjects(&self) -> &[String] {
        &self.subjects
    }

    /// For tables with one row per subject.
    pub fn subject_number(&self, entry: &Entry) -> usize {
        entry.subject as usize
    }

    pub fn order_at(&self, sequence: u64) -> Option<String> {
        self.wanted.get(&sequence).cloned().flatten()
    }

    /// Orders published by hand: the order API does not know them.
    pub fn foreign<'a>(&'a self, orders: &'a Orders) -> impl Iterator<Item = (&'a String, &'a Told)> {
        self.orders.iter().filter(|(id, _)| !orders.contains_key(*id))
    }

    pub fn add(
        &mut self,
        sequence: u64,
        subject: &str,
        headers: Option<&HeaderMap>,
        body: &[u8],
        orders: &Orders,
    ) {
        let event = match <Event as Message>::decode(subject, headers, body) {
            Ok(event) => {
                let key = EventKey::of(event.id.as_str());
                if let Some(order) = self.wanted.get_mut(&sequence) {
                    *order = Some(event.order_id().to_string());
                }
                self.learn(event, orders);
                key
            }
            Err(_) => {
                self.unreadable += 1;
                unreadable_key(sequence, headers)
            }
        };
        let subject = self.number_of(subject);
        self.entries.push(Entry { sequence, event, subject });
    }

    fn number_of(&mut self, subject: &str) -> u32 {
        if let Some(number) = self.subject_numbers.get(subject) {
            return *number;
        }
        let number = self.subjects.len() as u32;
        self.subjects.push(subject.to_owned());
        self.subject_numbers.insert(subject.to_owned(), number);
        number
    }

    fn learn(&mut self, event: Event, orders: &Orders) {
        let key = EventKey::of(event.id.as_str());
        let id = event.order_id().as_str();
        let known = orders.contains_key(id);
        if !self.orders.contains_key(id) {
            self.orders.insert(id.to_owned(), Told::default());
        }
        let Some(told) = self.orders.get_mut(id) else { return };
        match event.data {
            Data::OrderCreated(created) => {
                told.created_by = told.created_by.or(Some(key));
                if !known {
                    told.contradictory |= told.created.as_ref().is_some_and(|first| *first != created);
                    told.created.get_or_insert(created);
                }
            }
            Data::OrderConfirmed(_) => told.confirmed = true,
            Data::OrderCancelled(_) => told.cancelled = true,
            Data::OrderReady(_) => told.ready = true,
            Data::PaymentCaptured(payment) => {
                told.captured_cents = told.captured_cents.max(payment.amount.0);
            }
            Data::PaymentRefunded(payment) => {
                told.refunded_cents = told.refunded_cents.max(payment.amount.0);
            }
            _ => {}
        }
    }
}

impl Told {
    pub fn items(&self) -> &[Item] {
        self.created.as_ref().map_or(&[], |created| &created.items)
    }
}

/// The identity that the dead letter of an unreadable message gets.
fn unreadable_key(sequence: u64, headers: Option<&HeaderMap>) -> EventKey {
    match dead_letter::received_id(headers) {
        Some(id) => EventKey::of(id),
        None => EventKey::of(&format!("ORDERS:{sequence}")),
    }
}

/// A stream for the tests of the checks.
#[cfg(test)]
pub mod sample {
    use events::{Cents, OrderCancelled, topology};

    use super::*;

    pub fn created(order: &str, total: i64) -> Event {
        let item = Item { name: "Latte".into(), sku: None, price: Cents(total), quantity: 1 };
        let created = OrderCreated {
            order_id: order.to_owned().try_into().expect("valid"),
            customer_id: "cust-1".to_owned().try_into().expect("valid"),
            email: None,
            items: vec![item],
            total: Cents(total),
        };
        Event::new(created, None)
    }

    pub fn cancelled(order: &str) -> Event {
        let cancelled = OrderCancelled {
            order_id: order.to_owned().try_into().expect("valid"),
            customer_id: "cust-1".to_owned().try_into().expect("valid"),
            email: None,
            reason: "closed".into(),
        };
        Event::new(cancelled, None)
    }

    pub fn log(events: &[Event], orders: &Orders) -> StreamLog {
        let mut log = StreamLog::new([1]);
        for (n, event) in events.iter().enumerate() {
            let subject = topology::subject(event.event_type(), event.order_id());
            log.add(n as u64 + 1, &subject, None, &event.encode(), orders);
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_published_by_hand_is_kept_apart() {
        let orders = super::super::order::sample::orders(&[("ours", super::super::order::Status::Ready)]);
        let events =
            [sample::created("ours", 450), sample::created("theirs", 300), sample::cancelled("theirs")];
        let log = sample::log(&events, &orders);
        let foreign: Vec<_> = log.foreign(&orders).collect();
        assert_eq!(foreign.len(), 1);
        assert_eq!((foreign[0].0.as_str(), foreign[0].1.cancelled), ("theirs", true));
        assert!(log.orders["ours"].created.is_none(), "known orders are in the database");
        assert_eq!(log.order_at(1).as_deref(), Some("ours"));
    }

    #[test]
    fn an_unreadable_message_has_the_identity_of_its_dead_letter() {
        let mut log = StreamLog::new([]);
        log.add(7, "orders.created", None, b"\xff", &Orders::new());
        assert_eq!(log.unreadable, 1);
        assert_eq!(log.entries[0].event, EventKey::of("ORDERS:7:redrive:3"));
    }

    #[test]
    fn two_different_creations_of_one_order_are_noticed() {
        let log = sample::log(&[sample::created("a", 450), sample::created("a", 999)], &Orders::new());
        assert!(log.orders["a"].contradictory);
        let log = sample::log(&[sample::created("a", 450), sample::created("a", 450)], &Orders::new());
        assert!(!log.orders["a"].contradictory);
    }
}
