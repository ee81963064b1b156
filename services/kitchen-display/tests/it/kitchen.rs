//! What these tests say to the kitchen, and how they look at it.

use events::{Cents, Event, Item, OrderCancelled, OrderConfirmed, OrderCreated};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use testing::{STAFF_TOKEN, Service, World, eventually};

pub const BINARY: &str = env!("CARGO_BIN_EXE_kitchen-display");

pub async fn open(world: &World) -> Service {
    world.service("kitchen-display", BINARY).start().await
}

pub fn created(order_id: &str) -> Event {
    let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(450), quantity: 2 };
    let data = OrderCreated {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: None,
        items: vec![item],
        total: Cents(900),
    };
    Event::new(data, Some(1))
}

pub fn confirmed(order_id: &str) -> Event {
    let data = OrderConfirmed {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
    };
    Event::new(data, Some(2))
}

pub fn cancelled(order_id: &str) -> Event {
    let data = OrderCancelled {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: None,
        reason: "out of milk".to_owned(),
    };
    Event::new(data, Some(3))
}

pub async fn state(kitchen: &Service, order_id: &str) -> Option<String> {
    sqlx::query_scalar("select state from tickets where order_id = $1")
        .bind(order_id)
        .fetch_optional(kitchen.pool())
        .await
        .unwrap()
}

pub async fn until(kitchen: &Service, order_id: &str, wanted: &str) {
    let what = format!("the ticket of {order_id} is {wanted}");
    eventually(&what, async || (state(kitchen, order_id).await.as_deref() == Some(wanted)).then_some(()))
        .await;
}

/// Puts a ticket on the board.
pub async fn live(world: &World, kitchen: &Service, order_id: &str) {
    world.publish_event(&created(order_id)).await;
    world.publish_event(&confirmed(order_id)).await;
    until(kitchen, order_id, "waiting").await;
}

/// Status and body.
pub async fn bump(kitchen: &Service, order_id: &str, step: &str, token: Option<&str>) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/tickets/{order_id}/{step}", kitchen.url()));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub async fn staff_bump(kitchen: &Service, order_id: &str, step: &str) -> u16 {
    bump(kitchen, order_id, step, Some(STAFF_TOKEN)).await.0
}

pub async fn board(kitchen: &Service) -> Value {
    reqwest::get(format!("{}/board", kitchen.url())).await.unwrap().json().await.unwrap()
}

/// The snapshots a page is sent.
pub async fn page(kitchen: &Service) -> BoxStream<'static, Value> {
    let answer = reqwest::get(format!("{}/board/events", kitchen.url())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut unread = String::new();
    let snapshots = answer.bytes_stream().flat_map(move |chunk| {
        unread.push_str(std::str::from_utf8(&chunk.unwrap_or_default()).unwrap());
        let mut whole = Vec::new();
        while let Some((event, rest)) = unread.split_once("\n\n") {
            let data = event.strip_prefix("event: board\ndata: ");
            whole.extend(data.map(|data| serde_json::from_str(data).unwrap()));
            unread = rest.to_owned();
        }
        futures::stream::iter(whole)
    });
    snapshots.boxed()
}

/// Reads the page until it shows `order_id` in `state`, or until it does not show it any more.
pub async fn shows(page: &mut BoxStream<'static, Value>, order_id: &str, state: Option<&str>) {
    let seen = async {
        while let Some(snapshot) = page.next().await {
            let tickets = snapshot["tickets"].as_array().unwrap();
            let ticket = tickets.iter().find(|ticket| ticket["orderId"] == order_id);
            if ticket.map(|ticket| ticket["state"].as_str().unwrap()) == state {
                return;
            }
        }
        panic!("the stream ended before {order_id} was {state:?}");
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, seen).await.unwrap_or_else(|_| panic!("{order_id} never was {state:?}"));
}
