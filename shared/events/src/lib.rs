//! The contract between the services: what an event looks like, where it travels, who hears it.
//!
//! Everything here is a pure type or a constant, so that a service can depend on the contract without
//! depending on how events move. Values are checked when they are read: an [`Event`] in hand is a valid one.

mod cents;
mod data;
mod event;
mod ids;
pub mod permissions;
pub mod topology;

pub use cents::Cents;
pub use data::{
    Data, EventType, Item, OrderCancelled, OrderConfirmed, OrderCreated, OrderReady, PaymentCaptured,
    PaymentDeclined, PaymentRefunded, StockRejected, StockReleased, StockReserved, TicketReady,
    TicketStarted,
};
pub use event::{Event, Invalid, MAX_EVENT_BYTES};
pub use ids::{CustomerId, EventId, OrderId, check_text};
pub use topology::{PARTITIONS, partition};
