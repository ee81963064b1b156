//! A shop with nothing but an inventory, and the few questions the tests ask about it.

use events::{Cents, CustomerId, Data, Event, Item, OrderCancelled, OrderCreated, OrderId};
use testing::{Service, World};

pub const INITIAL: i64 = 1_000_000;

pub async fn inventory(world: &World) -> Service {
    world.service("inventory", env!("CARGO_BIN_EXE_inventory")).start().await
}

pub fn created(order: &str, items: &[(&str, u32)]) -> Event {
    let items: Vec<Item> = items
        .iter()
        .map(|&(name, quantity)| Item { name: name.to_owned(), sku: None, price: Cents(450), quantity })
        .collect();
    let total = items.iter().map(|item| item.price * item.quantity).sum();
    let data = OrderCreated { order_id: id(order), customer_id: customer(), email: None, items, total };
    Event::new(data, Some(1))
}

pub fn cancelled(order: &str) -> Event {
    let reason = "your card was declined".to_owned();
    let data = OrderCancelled { order_id: id(order), customer_id: customer(), email: None, reason };
    Event::new(data, Some(2))
}

fn id(order: &str) -> OrderId {
    order.to_owned().try_into().unwrap()
}

fn customer() -> CustomerId {
    "cust-1".to_owned().try_into().unwrap()
}

/// The answers of the inventory so far, as `(order id, event type, reason)`.
pub async fn answers(world: &World) -> Vec<(String, String, String)> {
    let mut answers = Vec::new();
    for subject in ["orders.stock-reserved.*", "orders.stock-rejected.*", "orders.stock-released.*"] {
        for body in world.published(subject).await {
            let event = Event::decode(body.to_string().as_bytes()).unwrap();
            let reason = match &event.data {
                Data::StockRejected(rejected) => rejected.reason.clone(),
                _ => String::new(),
            };
            answers.push((event.order_id().to_string(), event.event_type().as_str().to_owned(), reason));
        }
    }
    answers.sort();
    answers
}

pub async fn available(inventory: &Service, sku: &str) -> i64 {
    sqlx::query_scalar("select available from stock where sku = $1")
        .bind(sku)
        .fetch_one(inventory.pool())
        .await
        .unwrap()
}

/// The state of an order's reservation.
pub async fn state(inventory: &Service, order: &str) -> Option<String> {
    sqlx::query_scalar("select state from reservations where order_id = $1")
        .bind(order)
        .fetch_optional(inventory.pool())
        .await
        .unwrap()
}

/// Skus whose stock is not what it was at first less what is reserved.
pub async fn wrong_skus(inventory: &Service) -> Vec<String> {
    sqlx::query_scalar(
        "select sku from stock where available <> initial - coalesce((
             select sum((line ->> 'quantity')::bigint)
             from reservations, jsonb_array_elements(lines) as line
             where state = 'reserved' and line ->> 'sku' = stock.sku), 0)",
    )
    .fetch_all(inventory.pool())
    .await
    .unwrap()
}
