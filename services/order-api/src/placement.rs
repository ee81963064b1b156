//! An order on its way into the database: everything the one statement needs, encoded once, in the task of
//! the request, so that the writer only binds it.

use events::{Cents, CustomerId, Event, OrderCreated, OrderId};
use messaging::{Outgoing, TraceContext};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::idempotency::Claim;
use crate::request::Request;

pub struct Placement {
    pub order_id: OrderId,
    pub customer: CustomerId,
    pub email: Option<String>,
    /// JSON, as stored and shown.
    pub items: String,
    pub total: Cents,
    pub created: Outgoing,
    /// Set when the request has an Idempotency-Key.
    pub claim: Option<Claim>,
}

impl Placement {
    pub fn new(request: Request, claim: Option<Claim>, trace: &TraceContext) -> Placement {
        let (order_id, total) = (new_order_id(), request.total());
        let items = serde_json::to_string(&request.items).expect("items have only string keys");
        let Request { customer, email, items: lines } = request;
        let event = OrderCreated {
            order_id: order_id.clone(),
            customer_id: customer.clone(),
            email: email.clone(),
            items: lines,
            total,
        };
        let created = Outgoing::event(&Event::new(event, Some(1)), trace);
        Placement { order_id, customer, email, items, total, created, claim }
    }
}

/// `order-<milliseconds since 1970, 11 hex digits>-<122 random bits>`. The random part makes it a capability
/// that cannot be guessed; the time before it keeps neighbours in time neighbours in the index.
fn new_order_id() -> OrderId {
    let milliseconds = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let id = format!("order-{milliseconds:011x}-{}", Uuid::new_v4().simple());
    OrderId::try_from(id).expect("50 printable bytes are a valid order id")
}
