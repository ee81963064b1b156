//! Orders as customers and staff see them over HTTP.

use events::{Cents, EventType};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Received,
    Confirmed,
    Preparing,
    Ready,
    Cancelled,
}

impl From<domain::Status> for Status {
    fn from(status: domain::Status) -> Status {
        match status {
            domain::Status::Received => Status::Received,
            domain::Status::Confirmed => Status::Confirmed,
            domain::Status::Preparing => Status::Preparing,
            domain::Status::Ready => Status::Ready,
            domain::Status::Cancelled => Status::Cancelled,
        }
    }
}

impl Status {
    /// It stays, and with it ends the live stream. What was charged or reserved may still be given back after it: that is on the
    /// timeline.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Ready | Status::Cancelled)
    }
}

/// One line of an order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Line {
    #[schema(example = "Latte")]
    pub name: String,
    #[schema(example = "latte")]
    pub sku: String,
    /// Of one piece.
    #[schema(value_type = f64, example = 4.50)]
    pub price: Cents,
    #[schema(minimum = 1, maximum = 100)]
    pub quantity: u32,
}

/// An order and everything that has happened to it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    pub order_id: String,
    pub status: Status,
    pub customer_id: String,
    pub items: Vec<Line>,
    #[schema(value_type = f64, example = 9.00)]
    pub total: Cents,
    /// Why it was cancelled, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: OffsetDateTime,
    /// Grows by one with every line of the timeline.
    pub version: i64,
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TimelineEntry {
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// The event that was heard or said.
    #[schema(example = "PaymentCaptured")]
    pub what: String,
    /// The order's status after it.
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl TimelineEntry {
    /// The first line of every timeline is not stored: the order itself tells it.
    pub fn received(at: OffsetDateTime) -> TimelineEntry {
        let what = EventType::OrderCreated.as_str().to_owned();
        TimelineEntry { at, what, status: Status::Received, detail: None }
    }
}

/// One order of the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub order_id: String,
    pub status: Status,
    pub customer_id: String,
    #[schema(value_type = f64, example = 9.00)]
    pub total: Cents,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: OffsetDateTime,
}
