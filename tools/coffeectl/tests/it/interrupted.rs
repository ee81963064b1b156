//! The tool dies in the middle of its work: what it did half is done whole by doing it again, once.

use std::time::Duration;

use async_nats::HeaderMap;
use messaging::dead_letter;
use serde_json::{Value, json};
use testing::{World, eventually, within};

use crate::letters::lay_good;
use crate::shop::Shop;

/// What `redrive` or `discard` does before it removes the letter.
async fn first_half(world: &World, subject: &str, message_id: &str, headers: HeaderMap, body: &[u8]) {
    let mut headers = headers;
    headers.insert("Nats-Msg-Id", message_id);
    let sent = world.jetstream().publish_with_headers(subject.to_owned(), headers, body.to_vec().into());
    sent.await.unwrap().await.unwrap();
}

async fn awards(shop: &Shop) -> (i64, i64) {
    sqlx::query_as("select count(*), coalesce(sum(points), 0)::bigint from awards where state = 'awarded'")
        .fetch_one(shop.service("loyalty").pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_redrive_interrupted_before_the_letter_is_removed_is_processed_once() {
    let shop = Shop::of("loyalty").await;
    let number = lay_good(&shop.world, "loyalty", "order-1").await;
    let letter = dead_letter::get(shop.world.jetstream(), number).await.unwrap();
    let id = format!("{}:redrive:{number}", letter.event_id);
    first_half(&shop.world, "orders.redrive.loyalty.3", &id, HeaderMap::new(), &letter.body).await;

    let done = shop.json(&["dlq", "redrive", &number.to_string()]).await;
    assert_eq!(done, json!({ "redriven": [number] }));
    shop.world.settle(shop.service("loyalty")).await;
    assert_eq!(shop.world.published("orders.redrive.>").await.len(), 1, "the same message id");
    assert_eq!(awards(&shop).await, (1, 9));
    assert!(shop.world.dead_letters().await.is_empty());
}

/// As above, when the broker has forgotten the message id.
#[tokio::test]
async fn a_redrive_repeated_much_later_is_recognised_by_the_inbox() {
    let shop = Shop::of("loyalty").await;
    let number = lay_good(&shop.world, "loyalty", "order-1").await;
    let letter = dead_letter::get(shop.world.jetstream(), number).await.unwrap();
    first_half(&shop.world, "orders.redrive.loyalty.3", "forgotten", HeaderMap::new(), &letter.body).await;
    shop.json(&["dlq", "redrive", &number.to_string()]).await;
    shop.world.settle(shop.service("loyalty")).await;
    assert_eq!(shop.world.published("orders.redrive.>").await.len(), 2);
    assert_eq!(awards(&shop).await, (1, 9));
}

#[tokio::test]
async fn a_discard_interrupted_before_the_letter_is_removed_leaves_one_note() {
    let shop = Shop::without_services().await;
    let number = lay_good(&shop.world, "payment", "order-1").await;
    let letter = dead_letter::get(shop.world.jetstream(), number).await.unwrap();
    let id = format!("payment:{}:discarded:{number}", letter.event_id);
    let mut headers = HeaderMap::new();
    headers.insert(dead_letter::REASON, "discarded: a test (was: …)");
    first_half(&shop.world, "dlq.payment.discarded", &id, headers, b"").await;

    let done = shop.json(&["dlq", "discard", &number.to_string(), "--reason", "a test"]).await;
    assert_eq!(done, json!({ "discarded": [number] }));
    let left = shop.json(&["dlq", "list", "--discarded"]).await;
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["discarded"], true);
}

/// SIGKILL while it works its way through a thousand letters.
#[tokio::test]
async fn a_redrive_of_many_that_is_killed_loses_and_doubles_nothing() {
    const LETTERS: usize = 1_000;
    let shop = Shop::of("loyalty").await;
    for n in 0..LETTERS {
        lay_good(&shop.world, "loyalty", &format!("order-{n}")).await;
    }
    let mut tool = shop.command(&["dlq", "redrive", "--all", "--yes"]).await.spawn().unwrap();
    let left = async || {
        let stream = shop.world.jetstream().get_stream("DLQ").await.unwrap();
        stream.cached_info().state.messages as usize
    };
    eventually("it is at work", async || (left().await < LETTERS).then_some(())).await;
    tool.kill().await.unwrap();
    let unfinished = left().await;
    assert!(unfinished > 0, "it was killed in the middle");

    let done = shop.json(&["dlq", "redrive", "--all", "--yes"]).await;
    let redriven: Vec<&Value> = done["redriven"].as_array().unwrap().iter().collect();
    assert_eq!(redriven.len(), unfinished);
    within(Duration::from_secs(60), "every order has its points", async || {
        (awards(&shop).await == (LETTERS as i64, 9 * LETTERS as i64)).then_some(())
    })
    .await;
    assert_eq!(shop.world.published("orders.redrive.>").await.len(), LETTERS);
    assert!(shop.world.dead_letters().await.is_empty());
}
