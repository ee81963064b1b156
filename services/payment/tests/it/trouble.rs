use std::time::{Duration, Instant};

use serde_json::json;
use testing::eventually;

use crate::{Shop, captured};

#[tokio::test]
async fn a_charge_whose_answer_was_lost_is_made_once() {
    let shop = Shop::open().await;
    shop.behave(json!({"timeoutAfterSuccessRate": 1})).await;
    for n in 0..30 {
        shop.create(&format!("o-{n}")).await;
    }
    shop.until_count(30, "captured").await;
    assert_eq!(shop.said("o-7").await, ["PaymentCaptured"]);
    for n in 0..30 {
        assert_eq!(shop.charges(&format!("o-{n}")).await, captured());
    }
}

#[tokio::test]
async fn orders_wait_for_a_processor_that_is_down_and_are_paid_soon_after_its_return() {
    let mut shop = Shop::open().await;
    shop.processor.kill().await;
    for n in 0..300 {
        shop.create(&format!("o-{n}")).await;
    }
    shop.until_count(300, "due").await;
    let circuit_is_open = async || {
        let metrics = reqwest::get(format!("{}/metrics", shop.payment.url())).await.unwrap();
        metrics.text().await.unwrap().contains("payment_circuit_open 1").then_some(())
    };
    eventually("the circuit is open", circuit_is_open).await;
    shop.processor.restart().await;
    let back = Instant::now();
    shop.until_count(300, "captured").await;
    assert!(back.elapsed() < Duration::from_secs(5), "it took {:?}", back.elapsed());
    assert!(shop.world.dead_letters().await.is_empty());
    assert_eq!(shop.said("o-299").await, ["PaymentCaptured"]);
}

#[tokio::test]
async fn a_processor_that_fails_every_other_time_is_asked_again() {
    let shop = Shop::open().await;
    shop.behave(json!({"failRate": 0.5})).await;
    for n in 0..50 {
        shop.create(&format!("o-{n}")).await;
    }
    shop.until_count(50, "captured").await;
    assert_eq!(shop.charges("o-0").await, captured());
}

#[tokio::test]
async fn a_payment_killed_in_mid_charge_charges_once() {
    let mut shop = Shop::open().await;
    shop.behave(json!({"delayMs": 400})).await;
    for n in 0..50 {
        shop.create(&format!("o-{n}")).await;
    }
    let booked = async |shop: &Shop| -> i64 {
        sqlx::query_scalar("select count(*) from charges").fetch_one(shop.processor.pool()).await.unwrap()
    };
    eventually("charges are under way", async || (booked(&shop).await > 0).then_some(())).await;
    shop.payment.restart().await;
    shop.until_count(50, "captured").await;
    assert_eq!(booked(&shop).await, 50);
    shop.world.settle(&shop.payment).await;
    assert_eq!(shop.world.published("orders.payment-captured.*").await.len(), 50);
}

#[tokio::test]
async fn a_graceful_stop_writes_down_what_is_under_way() {
    let mut shop = Shop::open().await;
    shop.behave(json!({"delayMs": 300})).await;
    shop.create("o-1").await;
    eventually("the charge is under way", async || (!shop.charges("o-1").await.is_empty()).then_some(()))
        .await;
    shop.payment.terminate().await;
    assert_eq!(shop.state("o-1").await.as_deref(), Some("captured"));
}
