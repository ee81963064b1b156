//! The envelope around every event, and the one place where bytes become an [`Event`] or a reason why not.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::{Data, EventId, EventType, OrderId};

/// Larger bodies are refused unread: an order of 500 long lines needs a fifth of this.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Something that happened to an order. Immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    /// When it happened, by the clock of the service that says so.
    pub time: OffsetDateTime,
    /// The order's own version number, where the sender knows it.
    pub sequence: Option<u64>,
    pub data: Data,
}

/// Why bytes are not an event. It reads as the reason of a dead letter.
#[derive(Debug, Error, PartialEq)]
pub enum Invalid {
    #[error("oversized: the body has {0} bytes, at most {MAX_EVENT_BYTES} are allowed")]
    Oversized(usize),
    #[error("undecodable: {0}")]
    Undecodable(String),
    #[error("unknown event type {0:?}: this version of the contract does not have it")]
    UnknownType(String),
    #[error("invalid {event_type}: {reason}")]
    InvalidData { event_type: &'static str, reason: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a, T> {
    event_type: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    #[serde(with = "time::serde::rfc3339")]
    timestamp: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    data: T,
}

impl Event {
    /// A new event, happening now. Its id is a UUIDv7 (RFC 9562), so ids sort by time in an index.
    pub fn new(data: impl Into<Data>, sequence: Option<u64>) -> Event {
        let id = EventId::try_from(Uuid::now_v7().to_string()).expect("a UUID is a valid id");
        Event { id, time: OffsetDateTime::now_utc(), sequence, data: data.into() }
    }

    pub fn event_type(&self) -> EventType {
        self.data.event_type()
    }

    pub fn order_id(&self) -> &OrderId {
        self.data.order_id()
    }

    /// Reads the body of a message. A missing `eventId` becomes `<type>:<orderId>`, so that the same event
    /// published twice by hand is still recognised as one.
    pub fn decode(body: &[u8]) -> Result<Event, Invalid> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(Invalid::Oversized(body.len()));
        }
        let wire: Wire<'_, &RawValue> =
            serde_json::from_slice(body).map_err(|error| Invalid::Undecodable(error.to_string()))?;
        let event_type = EventType::parse(&wire.event_type)
            .ok_or_else(|| Invalid::UnknownType(wire.event_type.chars().take(80).collect()))?;
        let invalid = |reason| Invalid::InvalidData { event_type: event_type.as_str(), reason };
        if !is_storable(wire.timestamp) {
            return Err(invalid("the timestamp is outside of the years 1 to 9999 in UTC".to_owned()));
        }
        let data = Data::parse(event_type, wire.data.get()).map_err(|error| invalid(error.to_string()))?;
        data.check().map_err(invalid)?;
        let id = match wire.event_id {
            Some(id) => id,
            None => EventId::try_from(format!("{}:{}", event_type.as_str(), data.order_id()))
                .expect("a type name and a valid order id fit into an event id"),
        };
        Ok(Event { id, time: wire.timestamp, sequence: wire.sequence, data })
    }

    /// The body to publish.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            event_type: self.event_type().as_str().into(),
            event_id: Some(self.id.clone()),
            timestamp: self.time,
            sequence: self.sequence,
            data: &self.data,
        };
        // Most orders fit, so that it need not grow.
        let mut body = Vec::with_capacity(512);
        serde_json::to_writer(&mut body, &wire).expect("an event has only string keys and finite numbers");
        body
    }
}

/// Databases keep UTC, and RFC 3339 has four digits for a year.
fn is_storable(time: OffsetDateTime) -> bool {
    time.checked_to_offset(UtcOffset::UTC).is_some_and(|utc| (1..=9999).contains(&utc.year()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Cents, Item, OrderCreated};

    const SAMPLE: &str = r#"{ "eventType": "OrderCreated", "timestamp": "2024-03-15T10:30:00Z",
      "data": { "orderId": "order-123", "customerId": "cust-456",
                "items": [ { "name": "Latte", "price": 4.50 } ], "total": 4.50 } }"#;

    #[test]
    fn the_sample_without_optional_fields_is_an_order_of_one_latte() {
        let event = Event::decode(SAMPLE.as_bytes()).expect("valid");
        assert_eq!(event.id.as_str(), "OrderCreated:order-123");
        let Data::OrderCreated(order) = event.data else { panic!("wrong type") };
        assert_eq!((order.items[0].quantity, order.total), (1, Cents(450)));
    }

    #[test]
    fn a_time_that_no_database_can_keep_is_invalid() {
        let at = |time: &str| Event::decode(SAMPLE.replace("2024-03-15T10:30:00Z", time).as_bytes());
        for time in ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "0000-06-01T00:00:00Z"] {
            assert!(matches!(at(time), Err(Invalid::InvalidData { .. })), "{time}");
        }
        for time in ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"] {
            assert!(at(time).is_ok(), "{time}");
        }
    }

    #[test]
    fn an_optional_field_that_is_null_is_one_that_is_missing() {
        let nulls = SAMPLE
            .replace("{ \"eventType\"", "{ \"eventId\": null, \"sequence\": null, \"eventType\"")
            .replace("\"orderId\"", "\"email\": null, \"orderId\"")
            .replace("\"price\"", "\"sku\": null, \"quantity\": null, \"price\"");
        assert_eq!(Event::decode(nulls.as_bytes()), Event::decode(SAMPLE.as_bytes()));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let body = SAMPLE.replace("\"data\":", "\"trace\": [1, {}], \"data\":");
        assert!(Event::decode(body.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("4.50 }", "-4.50 }", "invalid OrderCreated"),
            ("order-123", "", "orderId is empty"),
            ("order-123", "a\\u0000b", "control character"),
            ("Latte", "", "data.items[0].name is empty"),
            ("OrderCreated", "OrderTeleported", "unknown event type \"OrderTeleported\""),
            ("2024-03-15T10:30:00Z", "yesterday", "undecodable"),
            ("4.50 } ]", "4.50, \"quantity\": 0 } ]", "quantity is 0"),
        ];
        for (from, to, reason) in cases {
            let error = Event::decode(SAMPLE.replacen(from, to, 1).as_bytes()).expect_err(to).to_string();
            assert!(error.contains(reason), "{to}: {error}");
        }
        let oversized = vec![b' '; MAX_EVENT_BYTES + 1];
        assert_eq!(Event::decode(&oversized), Err(Invalid::Oversized(MAX_EVENT_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Event::decode(&body);
        }

        #[test]
        fn an_event_survives_the_wire(cents in 0..1_000_000i64, quantity in 1..100u32, name in "[a-zé ]{1,20}") {
            let item = Item { name, sku: None, price: Cents(cents), quantity };
            let order = OrderCreated {
                order_id: OrderId::try_from("o-1".to_owned()).expect("valid"),
                customer_id: "c-1".to_owned().try_into().expect("valid"),
                email: None,
                total: item.price * item.quantity,
                items: vec![item],
            };
            let event = Event::new(order, Some(1));
            prop_assert_eq!(Event::decode(&event.encode()).expect("valid"), event);
        }
    }
}
