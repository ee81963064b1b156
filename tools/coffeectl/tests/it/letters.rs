//! Dead letters laid into the stream as a consumer's relay lays them, so that a test need not wait for a
//! service to give up, and which of them a filter means.

use async_nats::HeaderMap;
use events::{Cents, Event, Item, OrderCreated};
use messaging::dead_letter::{ATTEMPTS, CONSUMER, EVENT_ID, REASON, SEQUENCE, STREAM, SUBJECT};
use serde_json::{Value, json};
use testing::World;

use crate::shop::{Shop, text};

pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Returns its number.
pub async fn lay(world: &World, consumer: &str, reason: &str, id: &str, body: Vec<u8>) -> u64 {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (REASON, reason),
        (ATTEMPTS, "5"),
        (CONSUMER, consumer),
        (SUBJECT, "orders.created.3"),
        (STREAM, "ORDERS"),
        (SEQUENCE, "17"),
        (EVENT_ID, id),
        ("Nats-Msg-Id", &format!("{consumer}:{id}")),
        ("traceparent", TRACEPARENT),
    ] {
        headers.insert(name, value);
    }
    let sent = world.jetstream().publish_with_headers(format!("dlq.{consumer}"), headers, body.into());
    sent.await.unwrap().await.unwrap().sequence
}

pub fn created(order: &str) -> Event {
    let data = OrderCreated {
        order_id: order.to_owned().try_into().unwrap(),
        customer_id: "ann".to_owned().try_into().unwrap(),
        email: None,
        items: vec![Item { name: "Latte".into(), sku: None, price: Cents(450), quantity: 2 }],
        total: Cents(900),
    };
    Event::new(data, Some(1))
}

/// A letter about a good order, which its consumer could not handle then and can now.
pub async fn lay_good(world: &World, consumer: &str, order: &str) -> u64 {
    let event = created(order);
    lay(world, consumer, "gave up after 5 attempts: the oven is cold", event.id.as_str(), event.encode())
        .await
}

async fn three_and_two() -> Shop {
    let shop = Shop::without_services().await;
    for n in 0..3 {
        lay_good(&shop.world, "payment", &format!("order-{n}")).await;
    }
    for n in 0..2 {
        lay(&shop.world, "loyalty", "undecodable: not JSON", &format!("ORDERS:{n}"), b"noise".to_vec()).await;
    }
    shop
}

async fn count(shop: &Shop, filter: &[&str]) -> usize {
    shop.json(&[&["dlq", "list"], filter].concat()).await.as_array().unwrap().len()
}

#[tokio::test]
async fn a_list_shows_what_the_filter_says() {
    let shop = three_and_two().await;
    assert_eq!(count(&shop, &[]).await, 5);
    assert_eq!(count(&shop, &["--consumer", "payment"]).await, 3);
    assert_eq!(count(&shop, &["--reason", "not JSON"]).await, 2);
    assert_eq!(count(&shop, &["--event-type", "OrderCreated"]).await, 3);
    assert_eq!(count(&shop, &["--newer-than", "1h"]).await, 5);
    assert_eq!(count(&shop, &["--older-than", "1h"]).await, 0);
    assert_eq!(count(&shop, &["--consumer", "payment", "--reason", "not JSON"]).await, 0);
    assert_eq!(shop.coffeectl(&["dlq", "list", "--consumer", "nobody"]).await.status.code(), Some(2));

    let shown = shop.json(&["dlq", "show", "1"]).await;
    assert_eq!(shown["traceId"], TRACEPARENT[3..35]);
    assert_eq!((&shown["eventType"], &shown["attempts"]), (&json!("OrderCreated"), &json!(5)));
    let shown = text(&shop.coffeectl(&["dlq", "show", "4"]).await);
    assert!(shown.contains("undecodable: not JSON") && shown.contains(&TRACEPARENT[3..35]), "{shown}");
    assert!(shown.contains("noise") && shown.contains("Dead-Letter-Subject: orders.created.3"), "{shown}");
}

#[tokio::test]
async fn what_a_filter_means_is_told_and_done_only_with_a_yes() {
    let shop = three_and_two().await;
    let refused = shop.coffeectl(&["dlq", "redrive", "--consumer", "payment"]).await;
    assert_eq!(refused.status.code(), Some(2));
    let told = text(&refused);
    assert!(told.contains("3 dead letters (3 of payment)") && told.contains("the oven is cold"), "{told}");
    for wrong in [
        &["redrive"][..],
        &["redrive", "1", "--all"],
        &["redrive", "1", "--consumer", "payment"],
        &["redrive", "99"],
        &["discard", "1"],
        &["discard", "1", "--reason", ""],
        &["discard", "--all", "--reason", "no yes"],
        &["discard", "1", "99", "--reason", "one of them is not there"],
    ] {
        let refused = shop.coffeectl(&[&["dlq"], wrong].concat()).await;
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {}", text(&refused));
    }
    assert_eq!(count(&shop, &[]).await, 5, "nothing is done by halves");

    let none = shop.json(&["dlq", "redrive", "--older-than", "1h"]).await;
    assert_eq!(none, json!({ "redriven": [] }));
    let redriven =
        shop.json(&["dlq", "redrive", "--reason", "oven", "--event-type", "OrderCreated", "--yes"]).await;
    assert_eq!(redriven, json!({ "redriven": [1, 2, 3] }));
    let said = shop.world.published("orders.redrive.payment.3").await;
    let orders: Vec<&Value> = said.iter().map(|event| &event["data"]["orderId"]).collect();
    assert_eq!(orders, ["order-0", "order-1", "order-2"]);

    let discarded = shop
        .json(&["dlq", "discard", "--buried-because", "not JSON", "--reason", "somebody's test", "--yes"])
        .await;
    assert_eq!(discarded, json!({ "discarded": [4, 5] }));
    assert_eq!(count(&shop, &[]).await, 0);
    assert_eq!(count(&shop, &["--discarded", "--reason", "somebody's test"]).await, 2);
}
