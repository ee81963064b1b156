//! Dead letters as an explanation: what a consumer gave up on is visibly missing, not silently lost.

use std::collections::{HashMap, HashSet};

use messaging::dead_letter::DeadLetter;

use super::stream::{EventKey, StreamLog};

/// All dead letters and the notes of discarded ones, by consumer.
#[derive(Debug, Default)]
pub struct Letters {
    by_consumer: HashMap<String, Buried>,
}

#[derive(Debug, Default)]
struct Buried {
    events: HashSet<EventKey>,
    sequences: HashSet<u64>,
    orders: HashSet<String>,
}

impl Letters {
    /// The order of a letter is in its body; the note of a discarded one has none, so it is looked up in the
    /// stream.
    pub fn new(letters: &[DeadLetter], log: &StreamLog) -> Letters {
        let mut all = Letters::default();
        for letter in letters {
            let order = order_of(&letter.body).or_else(|| log.order_at(letter.stream_sequence));
            all.add(&letter.consumer, &letter.event_id, letter.stream_sequence, order);
        }
        all
    }

    fn add(&mut self, consumer: &str, event_id: &str, sequence: u64, order: Option<String>) {
        let buried = self.by_consumer.entry(consumer.to_owned()).or_default();
        buried.events.insert(EventKey::of(event_id));
        buried.sequences.insert(sequence);
        buried.orders.extend(order);
    }

    /// Whether this consumer buried the event, wherever in the stream it stood then.
    pub fn explain_event(&self, consumer: &str, event: EventKey, sequence: u64) -> bool {
        self.by_consumer
            .get(consumer)
            .is_some_and(|buried| buried.events.contains(&event) || buried.sequences.contains(&sequence))
    }

    /// Whether one of these consumers buried an event of the order.
    pub fn explain_order(&self, consumers: &[&str], order: &str) -> bool {
        consumers.iter().filter_map(|name| self.by_consumer.get(*name)).any(|b| b.orders.contains(order))
    }

    /// Whether anybody buried an event of the order.
    pub fn explain_order_anywhere(&self, order: &str) -> bool {
        self.by_consumer.values().any(|buried| buried.orders.contains(order))
    }

    #[cfg(test)]
    pub fn of_order(consumer: &str, order: &str) -> Letters {
        let mut letters = Letters::default();
        letters.add(consumer, "some-event", 0, Some(order.to_owned()));
        letters
    }

    #[cfg(test)]
    pub fn of_event(consumer: &str, event_id: &str, sequence: u64) -> Letters {
        let mut letters = Letters::default();
        letters.add(consumer, event_id, sequence, None);
        letters
    }
}

/// Events and email tasks alike name their order, unless they cannot be read.
pub fn order_of(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let order =
        body.pointer("/data/orderId").or_else(|| body.get("orderId")).or_else(|| body.get("order_id"))?;
    order.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_explains_its_consumer_and_its_order_only() {
        let letters = Letters::of_order("payment", "order-1");
        assert!(letters.explain_order(&["inventory", "payment"], "order-1"));
        assert!(letters.explain_order_anywhere("order-1"));
        assert!(!letters.explain_order(&["inventory"], "order-1"));
        assert!(!letters.explain_order_anywhere("order-2"));
    }

    #[test]
    fn a_letter_is_recognised_by_its_event_or_its_place() {
        let letters = Letters::of_event("payment", "event-1:redrive:7", 12);
        assert!(letters.explain_event("payment", EventKey::of("event-1"), 3), "the event before its redrive");
        assert!(letters.explain_event("payment", EventKey::of("unreadable"), 12));
        assert!(!letters.explain_event("email", EventKey::of("event-1"), 12));
        assert!(!letters.explain_event("payment", EventKey::of("event-2"), 13));
    }

    #[test]
    fn the_order_is_found_in_events_and_in_tasks() {
        assert_eq!(order_of(br#"{"data":{"orderId":"a"}}"#).as_deref(), Some("a"));
        assert_eq!(order_of(br#"{"orderId":"b"}"#).as_deref(), Some("b"));
        assert_eq!(order_of(b"\xff"), None);
    }
}
