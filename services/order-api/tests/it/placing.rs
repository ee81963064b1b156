use std::collections::HashSet;

use futures::future::join_all;
use serde_json::{Value, json};
use testing::eventually;

use crate::shop::{Shop, latte, problem};

#[tokio::test]
async fn an_order_is_stored_with_its_event_before_it_is_answered() {
    let shop = Shop::open().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = shop.http.post(shop.url("/orders")).json(&json!({
        "customerId": "cust-456", "email": "a@example.com", "note": "unknown fields are ignored",
        "items": [{ "name": "latte", "quantity": 2 }, { "sku": "croissant", "price": 3.1 }] }));
    let answer =
        request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01")).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    assert!(text.contains("\"total\":12.10"), "money has two decimals: {text}");
    let accepted: Value = serde_json::from_str(&text).unwrap();
    let id = accepted["orderId"].as_str().unwrap();
    assert_eq!(location, format!("/orders/{id}"));
    assert_eq!((&accepted["status"], &accepted["traceId"]), (&json!("received"), &json!(trace)));
    assert_eq!(accepted["message"], "Order received!");

    let stored = "select count(*) from orders join outbox using (order_id) where event_type = 'OrderCreated'";
    assert_eq!(shop.count(stored).await, 1);
    let order: Value = shop.get(&location).await.json().await.unwrap();
    assert_eq!(order["items"][0], json!({ "name": "Latte", "sku": "latte", "price": 4.5, "quantity": 2 }));
    assert_eq!(order["timeline"].as_array().unwrap().len(), 1);
    assert_eq!(order["timeline"][0]["what"], "OrderCreated");

    let said = eventually("OrderCreated is published", async || {
        shop.world.published("orders.created.*").await.pop()
    })
    .await;
    assert_eq!((&said["data"]["orderId"], &said["sequence"]), (&json!(id), &json!(1)));
    assert_eq!(said["data"]["email"], "a@example.com");
}

#[tokio::test]
async fn orders_that_arrive_together_are_all_stored_once() {
    let shop = Shop::open().await;
    let customers: Vec<String> = (0..300).map(|n| format!("c-{n}")).collect();
    // Every second one with a key, so that both kinds are in one statement.
    let place = async |(n, customer): (usize, &String)| {
        let order = latte(customer);
        let answer = match n % 2 {
            0 => shop.post(&order).await,
            _ => shop.post_with_key(customer, &order).await,
        };
        answer.json::<Value>().await.unwrap()["orderId"].clone()
    };
    let ids = join_all(customers.iter().enumerate().map(place)).await;
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 300);
    assert_eq!(shop.orders().await, 300);
    assert_eq!(shop.count("select count(distinct order_id) from outbox").await, 300);
    assert_eq!(shop.count("select count(distinct request_hash) from idempotency_keys").await, 150);
    let again = shop.post_with_key("c-7", &latte("c-7")).await;
    assert_eq!(again.json::<Value>().await.unwrap()["orderId"], ids[7]);
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.world.published("orders.created.*").await.len(), 300);
}

#[tokio::test]
async fn one_bad_row_does_not_fail_its_neighbours() {
    let shop = Shop::open().await;
    let trap = "alter table orders add constraint trap check (customer_id <> 'mallory')";
    sqlx::query(trap).execute(shop.api.pool()).await.unwrap();
    let customers: Vec<String> =
        (0..200).map(|n| if n % 50 == 7 { "mallory".to_owned() } else { format!("c-{n}") }).collect();
    let answers = join_all(customers.iter().map(async |customer| shop.post(&latte(customer)).await)).await;
    for (customer, answer) in customers.iter().zip(answers) {
        match customer.as_str() {
            "mallory" => drop(problem(answer, 500).await),
            _ => assert_eq!(answer.status(), 201, "{customer}"),
        }
    }
    assert_eq!(shop.orders().await, 196);
    assert_eq!(shop.count("select count(*) from outbox").await, 196);
}

#[tokio::test]
async fn a_graceful_stop_answers_the_orders_it_has_taken() {
    let mut shop = Shop::open().await;
    let client = shop.http.clone();
    let url = shop.url("/orders");
    let placing = tokio::spawn(async move {
        let mut taken = 0;
        loop {
            match client.post(&url).json(&latte("c-1")).send().await {
                Ok(answer) if answer.status() == 201 => taken += 1,
                _ => return taken,
            }
        }
    });
    eventually("some orders are placed", async || (shop.orders().await > 20).then_some(())).await;
    shop.api.terminate().await;
    assert_eq!(shop.orders().await, placing.await.unwrap());
    assert!(shop.api.log().contains("stopped"));
}
