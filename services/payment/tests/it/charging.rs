use std::time::Duration;

use serde_json::json;
use testing::{SAMPLE, eventually};

use crate::{Shop, captured, created};

#[tokio::test]
async fn a_redelivered_order_is_charged_once() {
    let shop = Shop::open().await;
    for _ in 0..5 {
        shop.world.publish("orders.created", SAMPLE).await;
        shop.world.publish_event(&created("order-123", "cust-456")).await;
    }
    shop.until_state("order-123", "captured").await;
    assert_eq!(shop.said("order-123").await, ["PaymentCaptured"]);
    assert_eq!(shop.charges("order-123").await, captured());
    let event = &shop.world.published("orders.payment-captured.*").await[0];
    assert_eq!(event["data"]["amount"], json!(4.5));
    assert!(event["data"]["chargeId"].as_str().unwrap().starts_with("ch_"));
}

#[tokio::test]
async fn ids_of_any_text_are_charged_and_refunded_each_for_itself() {
    let shop = Shop::open().await;
    let long = "é".repeat(64);
    for order in ["ordre-é☕", "ordre-%C3%A9%E2%98%95", "a \"b\\ ", &long] {
        shop.create(order).await;
        shop.until_state(order, "captured").await;
        assert_eq!(shop.charges(order).await, captured());
        shop.cancel(order).await;
        shop.until_state(order, "refunded").await;
    }
}

#[tokio::test]
async fn a_declined_card_is_said_with_a_reason() {
    let shop = Shop::open().await;
    shop.world.publish_event(&created("o-1", "declined-1")).await;
    shop.until_state("o-1", "declined").await;
    assert_eq!(shop.said("o-1").await, ["PaymentDeclined"]);
    let event = &shop.world.published("orders.payment-declined.*").await[0];
    assert!(event["data"]["reason"].as_str().unwrap().contains("declined"));
}

#[tokio::test]
async fn a_new_payment_is_claimed_as_it_is_noted() {
    let shop = Shop::open().await;
    shop.behave(json!({"delayMs": 300})).await;
    shop.create("o-1").await;
    let read = async || {
        let claimed =
            "select attempts, uncertain, due_at > now(), updated_at = created_at, state from payments";
        sqlx::query_as::<_, (i32, bool, bool, bool, String)>(claimed)
            .fetch_optional(shop.payment.pool())
            .await
            .unwrap()
    };
    assert_eq!(eventually("it is noted", read).await, (1, true, true, true, "due".into()));
    shop.until_state("o-1", "captured").await;
    assert_eq!(shop.charges("o-1").await, captured());
}

#[tokio::test]
async fn more_orders_than_places_for_calls_are_all_charged_once() {
    let shop = Shop::open_with(&[("CHARGES_IN_FLIGHT", "3")]).await;
    shop.behave(json!({"delayMs": 10})).await;
    for n in 0..60 {
        shop.create(&format!("o-{n}")).await;
    }
    shop.until_count(60, "captured").await;
    shop.world.settle(&shop.payment).await;
    assert_eq!(shop.world.published("orders.payment-captured.*").await.len(), 60);
}

#[tokio::test]
async fn new_orders_line_up_behind_those_that_wait_for_a_place() {
    let shop = Shop::open_with(&[("CHARGES_IN_FLIGHT", "2")]).await;
    shop.behave(json!({"delayMs": 50})).await;
    for n in 0..40 {
        shop.create(&format!("old-{n}")).await;
    }
    shop.until_count(10, "captured").await;
    for n in 0..20 {
        shop.create(&format!("new-{n}")).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shop.until_count(60, "captured").await;
    let charged: Vec<String> = sqlx::query_scalar("select reference from charges order by created_at")
        .fetch_all(shop.processor.pool())
        .await
        .unwrap();
    let first = charged.iter().position(|order| order.starts_with("new")).unwrap();
    assert!(first >= 36, "new orders overtook old ones: {charged:?}");
}

#[tokio::test]
async fn an_order_of_nothing_is_paid_like_any_other() {
    let shop = Shop::open().await;
    shop.world.publish("orders.created", SAMPLE.replace("4.50", "0")).await;
    shop.until_state("order-123", "captured").await;
    assert_eq!(shop.said("order-123").await, ["PaymentCaptured"]);
}

#[tokio::test]
async fn two_instances_share_many_orders_and_charge_each_once() {
    let shop = Shop::open().await;
    let second = shop
        .world
        .service("payment", env!("CARGO_BIN_EXE_payment"))
        .instance("payment-2")
        .env("CARD_PROCESSOR_URL", shop.processor.url())
        .start()
        .await;
    for n in 0..300 {
        shop.create(&format!("o-{n}")).await;
        shop.create(&format!("o-{n}")).await;
    }
    shop.until_count(300, "captured").await;
    shop.world.settle(&shop.payment).await;
    assert_eq!(shop.world.published("orders.payment-captured.*").await.len(), 300);
    let charges: (i64, i64) = sqlx::query_as("select count(*), count(distinct reference) from charges")
        .fetch_one(shop.processor.pool())
        .await
        .unwrap();
    assert_eq!(charges, (300, 300));
    drop(second);
}
