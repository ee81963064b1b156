use serde_json::json;
use testing::eventually;

use crate::{Shop, cancelled, created, refunded};

#[tokio::test]
async fn an_order_cancelled_before_it_was_created_is_never_charged() {
    let shop = Shop::open().await;
    shop.cancel("o-1").await;
    shop.until_state("o-1", "cancelled").await;
    shop.create("o-1").await;
    shop.create("o-2").await;
    shop.until_state("o-2", "captured").await;
    assert!(shop.said("o-1").await.is_empty());
    assert!(shop.charges("o-1").await.is_empty());
    assert_eq!(shop.state("o-1").await.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn a_paid_order_that_is_cancelled_is_refunded_once() {
    let shop = Shop::open().await;
    shop.create("o-1").await;
    shop.until_state("o-1", "captured").await;
    for _ in 0..3 {
        shop.cancel("o-1").await;
    }
    shop.until_state("o-1", "refunded").await;
    assert_eq!(shop.said("o-1").await, ["PaymentCaptured", "PaymentRefunded"]);
    assert_eq!(shop.charges("o-1").await, refunded());
}

#[tokio::test]
async fn an_order_cancelled_in_mid_charge_is_refunded_when_the_answer_is_known() {
    let shop = Shop::open().await;
    shop.behave(json!({"delayMs": 300})).await;
    shop.create("o-1").await;
    eventually("the charge is under way", async || (!shop.charges("o-1").await.is_empty()).then_some(()))
        .await;
    shop.cancel("o-1").await;
    shop.until_state("o-1", "refunded").await;
    assert_eq!(shop.said("o-1").await, ["PaymentCaptured", "PaymentRefunded"]);
    assert_eq!(shop.charges("o-1").await, refunded());
}

#[tokio::test]
async fn an_order_cancelled_while_the_processor_is_down_is_never_charged() {
    let mut shop = Shop::open().await;
    shop.processor.kill().await;
    shop.create("o-1").await;
    shop.until_state("o-1", "due").await;
    shop.cancel("o-1").await;
    shop.until_state("o-1", "cancelled").await;
    shop.processor.restart().await;
    shop.create("o-2").await;
    shop.until_state("o-2", "captured").await;
    assert!(shop.said("o-1").await.is_empty());
    assert!(shop.charges("o-1").await.is_empty());
}

#[tokio::test]
async fn a_hundred_orders_cancelled_at_once_end_without_a_charge_left() {
    let shop = Shop::open().await;
    for n in 0..100 {
        let order = format!("o-{n}");
        let mut events = [created(&order, "ann"), cancelled(&order)];
        if n % 2 == 0 {
            events.reverse();
        }
        for event in events {
            shop.world.publish_event(&event).await;
        }
    }
    eventually("all are settled", async || {
        let settled = "select count(*) from payments where state in ('cancelled', 'refunded')";
        let settled: i64 = sqlx::query_scalar(settled).fetch_one(shop.payment.pool()).await.unwrap();
        (settled == 100).then_some(())
    })
    .await;
    let kept: i64 = sqlx::query_scalar("select count(*) from charges where refunded_cents < amount_cents")
        .fetch_one(shop.processor.pool())
        .await
        .unwrap();
    assert_eq!(kept, 0);
}
