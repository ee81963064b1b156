//! Each event that concerns the customer becomes one mail.

use serde_json::Value;
use testing::{SAMPLE, STAFF_TOKEN, World};

use crate::post::{cancelled, created, header, message_ids, open, ready, settle};

#[tokio::test]
async fn a_customer_hears_of_each_turn_of_the_order() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    world.publish_event(&created("a", Some("ana@example.com"))).await;
    world.publish_event(&ready("a")).await;
    world.publish_event(&cancelled("b")).await;
    settle(&world, &email, 3).await;

    let mails = mailbox.mails();
    let find = |id: &str| mails.iter().find(|mail| header(mail, "Message-ID") == id).unwrap();
    let received = find("<received.a@coffee-shop.example>");
    assert_eq!(header(received, "To"), "ana@example.com");
    assert_eq!(header(received, "Subject"), "We have your order: a");
    assert!(received.contains("  2 x Latte                             9.00"), "{received}");
    assert!(received.contains("Content-Type: text/html"));
    let sold_out = find("<cancelled.b@coffee-shop.example>");
    assert_eq!(header(sold_out, "To"), "cust-456@example.com");
    assert!(sold_out.contains("Why: Latte is sold out"), "{sold_out}");
    assert!(find("<ready.a@coffee-shop.example>").contains("It waits for you at the counter"));

    let url = format!("{}/mails?orderId=a", email.url());
    let request = reqwest::Client::new().get(&url).bearer_auth(STAFF_TOKEN);
    let sent: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
    let kinds: Vec<_> = sent.iter().map(|mail| (&mail["kind"], &mail["copies"])).collect();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    assert!(kinds.iter().all(|(_, copies)| **copies == 1), "{kinds:?}");
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 401);
    let twice = reqwest::Client::new().get(format!("{url}&orderId=b")).bearer_auth(STAFF_TOKEN);
    let problem: Value = twice.send().await.unwrap().json().await.unwrap();
    assert_eq!(problem["status"], 400);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn the_sample_event_published_ten_times_by_hand_is_one_mail() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    for _ in 0..10 {
        world.publish("orders.created", SAMPLE).await;
    }
    settle(&world, &email, 1).await;
    assert_eq!(message_ids(&mailbox), ["<received.order-123@coffee-shop.example>"]);
}

#[tokio::test]
async fn the_same_mail_asked_for_by_two_events_is_sent_once() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    world.publish_event(&ready("a")).await;
    settle(&world, &email, 1).await;

    // As a task that is put on the queue after the broker has forgotten the first one's id.
    let task = r#"{"orderId":"a","customerId":"cust-456","says":"ready"}"#;
    world.publish("emails.ready", task).await;
    world.publish_event(&ready("a")).await;
    world.settle(&email).await;
    assert_eq!(mailbox.mails().len(), 1);
}

#[tokio::test]
async fn an_address_that_is_none_is_buried_alone() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    for n in 0..30 {
        let address = if n == 13 { Some("not an address") } else { None };
        world.publish_event(&created(&format!("order-{n}"), address)).await;
    }
    settle(&world, &email, 29).await;

    let letters = world.dead_letters().await;
    let buried: Vec<_> = letters.iter().map(|l| (l.consumer.as_str(), l.event_id.as_str())).collect();
    assert_eq!(buried, [("email-worker", "received:order-13")]);
    assert!(letters[0].reason.contains("\"not an address\" is not an address"), "{}", letters[0].reason);
    assert_eq!(mailbox.mails().len(), 29);
}
