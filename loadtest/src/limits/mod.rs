//! What the machine can do at all, measured beside the shop on the same servers: the yardstick for its
//! figures. [postgres] is what one order and outbox row for each transaction can be, [broker] what a relay and
//! a consumer that do nothing else would reach.

pub mod broker;
pub mod postgres;

use events::{Cents, Event, Item, OrderCreated};

/// An event as long as the orders of the load make them.
pub fn event() -> anyhow::Result<Event> {
    let item = |name: &str, sku: &str, cents: i64| Item {
        name: name.to_owned(),
        sku: Some(sku.to_owned()),
        price: Cents(cents),
        quantity: 2,
    };
    let order_id = format!("order-{:011x}-{}", 0, uuid::Uuid::new_v4().simple());
    let invalid = |error: String| anyhow::anyhow!(error);
    let order = OrderCreated {
        order_id: order_id.try_into().map_err(invalid)?,
        customer_id: "cust-4567".to_owned().try_into().map_err(invalid)?,
        email: None,
        items: vec![item("Latte", "latte", 450), item("Blueberry Muffin", "blueberry-muffin", 350)],
        total: Cents(1_600),
    };
    Ok(Event::new(order, Some(1)))
}
