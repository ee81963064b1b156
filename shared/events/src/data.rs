//! What each event says. Field names are camelCase on the wire; unknown fields are ignored, so that a
//! producer may add one without asking its consumers.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Cents, CustomerId, OrderId, check_text};

const MAX_ITEMS: usize = 500;
const MAX_QUANTITY: u32 = 10_000;
const MAX_NAME_BYTES: usize = 200;
const MAX_REASON_BYTES: usize = 1_000;

macro_rules! events {
    ($($name:ident => $token:literal),+ $(,)?) => {
        /// The name of an event, as in `eventType` and `ce-type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($name),+ }

        impl EventType {
            pub const ALL: &'static [EventType] = &[$(EventType::$name),+];

            /// `OrderCreated`
            pub const fn as_str(self) -> &'static str {
                match self { $(EventType::$name => stringify!($name)),+ }
            }

            /// The second token of its subjects: `created` in `orders.created.3`. Renaming one strands the
            /// events already stored under the old subject.
            pub const fn token(self) -> &'static str {
                match self { $(EventType::$name => $token),+ }
            }
        }

        /// An event's payload, one variant per [`EventType`].
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Data { $($name($name)),+ }

        impl Data {
            pub const fn event_type(&self) -> EventType {
                match self { $(Data::$name(_) => EventType::$name),+ }
            }

            pub const fn order_id(&self) -> &OrderId {
                match self { $(Data::$name(data) => &data.order_id),+ }
            }

            pub(crate) fn parse(event_type: EventType, json: &str) -> Result<Data, serde_json::Error> {
                Ok(match event_type { $(EventType::$name => Data::$name(serde_json::from_str(json)?)),+ })
            }

            /// What serde cannot see: bounds on counts and lengths. The error names the field.
            pub(crate) fn check(&self) -> Result<(), String> {
                match self { $(Data::$name(data) => data.check()),+ }
            }
        }

        $(impl From<$name> for Data {
            fn from(data: $name) -> Data { Data::$name(data) }
        })+
    };
}

events! {
    OrderCreated => "created",
    OrderConfirmed => "confirmed",
    OrderCancelled => "cancelled",
    OrderReady => "ready",
    PaymentCaptured => "payment-captured",
    PaymentDeclined => "payment-declined",
    PaymentRefunded => "payment-refunded",
    StockReserved => "stock-reserved",
    StockRejected => "stock-rejected",
    StockReleased => "stock-released",
    TicketStarted => "ticket-started",
    TicketReady => "ticket-ready",
}

impl EventType {
    pub fn parse(name: &str) -> Option<EventType> {
        EventType::ALL.iter().copied().find(|event_type| event_type.as_str() == name)
    }
}

/// One line of an order. `price` is for one piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    pub price: Cents,
    #[serde(default = "one", deserialize_with = "one_if_null")]
    pub quantity: u32,
}

fn one() -> u32 {
    1
}

fn one_if_null<'de, D: Deserializer<'de>>(quantity: D) -> Result<u32, D::Error> {
    Ok(Option::deserialize(quantity)?.unwrap_or(one()))
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub items: Vec<Item>,
    pub total: Cents,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmed {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderReady {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentCaptured {
    pub order_id: OrderId,
    pub amount: Cents,
    pub charge_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentDeclined {
    pub order_id: OrderId,
    pub amount: Cents,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefunded {
    pub order_id: OrderId,
    pub amount: Cents,
    pub charge_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockReserved {
    pub order_id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockRejected {
    pub order_id: OrderId,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StockReleased {
    pub order_id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketStarted {
    pub order_id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketReady {
    pub order_id: OrderId,
}

impl OrderCreated {
    fn check(&self) -> Result<(), String> {
        check_email(self.email.as_deref())?;
        if self.items.is_empty() || self.items.len() > MAX_ITEMS {
            return Err(format!("data.items has {} entries, 1 to {MAX_ITEMS} are allowed", self.items.len()));
        }
        for (n, item) in self.items.iter().enumerate() {
            check_text(&format!("data.items[{n}].name"), &item.name, MAX_NAME_BYTES)?;
            if let Some(sku) = &item.sku {
                check_text(&format!("data.items[{n}].sku"), sku, MAX_NAME_BYTES)?;
            }
            if item.quantity == 0 || item.quantity > MAX_QUANTITY {
                let quantity = item.quantity;
                return Err(format!(
                    "data.items[{n}].quantity is {quantity}, 1 to {MAX_QUANTITY} are allowed"
                ));
            }
        }
        Ok(())
    }
}

fn check_email(email: Option<&str>) -> Result<(), String> {
    email.map_or(Ok(()), |email| check_text("data.email", email, 320))
}

fn check_reason(reason: &str) -> Result<(), String> {
    check_text("data.reason", reason, MAX_REASON_BYTES)
}

impl OrderCancelled {
    fn check(&self) -> Result<(), String> {
        check_email(self.email.as_deref())?;
        check_reason(&self.reason)
    }
}

impl OrderReady {
    fn check(&self) -> Result<(), String> {
        check_email(self.email.as_deref())
    }
}

impl PaymentCaptured {
    fn check(&self) -> Result<(), String> {
        check_text("data.chargeId", &self.charge_id, MAX_NAME_BYTES)
    }
}

impl PaymentRefunded {
    fn check(&self) -> Result<(), String> {
        check_text("data.chargeId", &self.charge_id, MAX_NAME_BYTES)
    }
}

impl PaymentDeclined {
    fn check(&self) -> Result<(), String> {
        check_reason(&self.reason)
    }
}

impl StockRejected {
    fn check(&self) -> Result<(), String> {
        check_reason(&self.reason)
    }
}

macro_rules! nothing_more_to_check {
    ($($name:ident),+) => {
        $(impl $name {
            fn check(&self) -> Result<(), String> { Ok(()) }
        })+
    };
}

nothing_more_to_check!(OrderConfirmed, StockReserved, StockReleased, TicketStarted, TicketReady);
