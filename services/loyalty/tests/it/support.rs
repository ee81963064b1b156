//! A shop with nothing but the loyalty programme, and the few questions the tests ask about it.

use events::{Cents, CustomerId, Event, Item, OrderCancelled, OrderCreated, OrderId};
use testing::{Service, World};

pub async fn loyalty(world: &World) -> Service {
    world.service("loyalty", env!("CARGO_BIN_EXE_loyalty")).start().await
}

pub fn created(order: &str, customer: &str, cents: i64) -> Event {
    let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(cents), quantity: 1 };
    let (order_id, customer_id, total) = ids(order, customer, cents);
    Event::new(OrderCreated { order_id, customer_id, email: None, items: vec![item], total }, Some(1))
}

pub fn cancelled(order: &str, customer: &str) -> Event {
    let (order_id, customer_id, _) = ids(order, customer, 0);
    let reason = "your card was declined".to_owned();
    Event::new(OrderCancelled { order_id, customer_id, email: None, reason }, Some(2))
}

fn ids(order: &str, customer: &str, cents: i64) -> (OrderId, CustomerId, Cents) {
    (order.to_owned().try_into().unwrap(), customer.to_owned().try_into().unwrap(), Cents(cents))
}

pub async fn points(loyalty: &Service, customer: &str) -> Option<i64> {
    sqlx::query_scalar("select points from balances where customer_id = $1")
        .bind(customer)
        .fetch_optional(loyalty.pool())
        .await
        .unwrap()
}

pub async fn state(loyalty: &Service, order: &str) -> Option<String> {
    sqlx::query_scalar("select state from awards where order_id = $1")
        .bind(order)
        .fetch_optional(loyalty.pool())
        .await
        .unwrap()
}

/// Customers whose balance is not the sum of their awards.
pub async fn wrong_balances(loyalty: &Service) -> Vec<String> {
    sqlx::query_scalar(
        "select customer_id from balances full join (
             select customer_id, sum(points) filter (where state = 'awarded') as points
             from awards group by customer_id) as due using (customer_id)
         where balances.points is distinct from coalesce(due.points, 0)",
    )
    .fetch_all(loyalty.pool())
    .await
    .unwrap()
}
