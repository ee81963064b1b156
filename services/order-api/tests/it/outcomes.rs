use events::{
    Cents, OrderId, PaymentDeclined, PaymentRefunded, StockRejected, StockReleased, StockReserved,
    TicketReady, TicketStarted,
};
use serde_json::{Value, json};

use crate::shop::{Shop, captured, latte};

fn what(order: &Value) -> Vec<&str> {
    order["timeline"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_paid_and_reserved_order_is_confirmed_prepared_and_ready() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("c-1")).await;
    let order_id = || id.clone();
    shop.say(captured(&id)).await;
    shop.say(StockReserved { order_id: order_id() }).await;
    shop.status_becomes(&id, "confirmed").await;
    shop.say(TicketStarted { order_id: order_id() }).await;
    shop.status_becomes(&id, "preparing").await;
    shop.say(TicketReady { order_id: order_id() }).await;
    let order = shop.status_becomes(&id, "ready").await;
    assert_eq!(
        what(&order),
        [
            "OrderCreated",
            "PaymentCaptured",
            "StockReserved",
            "OrderConfirmed",
            "TicketStarted",
            "TicketReady",
            "OrderReady"
        ]
    );
    assert_eq!(order["version"], 7);
    shop.world.settle(&shop.api).await;
    for (subject, sequence) in [("orders.confirmed.*", 4), ("orders.ready.*", 7)] {
        let said = shop.world.published(subject).await;
        assert_eq!(said.len(), 1, "{subject}");
        assert_eq!((&said[0]["sequence"], &said[0]["data"]["customerId"]), (&json!(sequence), &json!("c-1")));
    }
}

#[tokio::test]
async fn outcomes_in_the_wrong_order_and_twice_end_ready_all_the_same() {
    let shop = Shop::open().await;
    let ids = [shop.place(&latte("c-1")).await, shop.place(&latte("c-2")).await];
    for _ in 0..2 {
        for id in &ids {
            let order_id = || id.clone();
            shop.say(TicketReady { order_id: order_id() }).await;
            shop.say(StockReserved { order_id: order_id() }).await;
            shop.say(captured(id)).await;
            shop.say(TicketStarted { order_id: order_id() }).await;
        }
    }
    shop.world.settle(&shop.api).await;
    for id in &ids {
        assert_eq!(shop.order(id).await["status"], "ready");
    }
    assert_eq!(shop.world.published("orders.confirmed.*").await.len(), 2);
    assert_eq!(shop.world.published("orders.ready.*").await.len(), 2);
    let flags =
        "select count(*) from orders where payment = 'captured' and stock = 'reserved' and ticket = 'ready'";
    assert_eq!(shop.count(flags).await, 2);
}

#[tokio::test]
async fn a_declined_order_is_cancelled_once_with_the_reason_and_notes_what_comes_late() {
    let shop = Shop::open().await;
    let order = json!({ "customerId": "c-1", "email": "a@example.com", "items": [{ "name": "Mocha" }] });
    let id = shop.place(&order).await;
    let order_id = || id.clone();
    shop.say(PaymentDeclined { order_id: order_id(), amount: Cents(490), reason: "no funds".into() }).await;
    let order = shop.status_becomes(&id, "cancelled").await;
    assert_eq!(order["cancelReason"], "no funds");
    shop.say(StockRejected { order_id: order_id(), reason: "sold out".into() }).await;
    shop.world.settle(&shop.api).await;
    let said = shop.world.published("orders.cancelled.*").await;
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["data"]["reason"], "no funds");
    assert_eq!(said[0]["data"]["email"], "a@example.com");
    let order = shop.order(&id).await;
    assert_eq!(order["cancelReason"], "no funds");
    assert_eq!(what(&order), ["OrderCreated", "PaymentDeclined", "OrderCancelled", "StockRejected"]);
    assert_eq!(order["timeline"][3]["detail"], "sold out");
}

#[tokio::test]
async fn compensation_is_noted() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("c-1")).await;
    let order_id = || id.clone();
    shop.say(StockRejected { order_id: order_id(), reason: "sold out".into() }).await;
    shop.say(captured(&id)).await;
    shop.say(PaymentRefunded { order_id: order_id(), amount: Cents(900), charge_id: "ch-1".into() }).await;
    shop.say(StockReleased { order_id: order_id() }).await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.order(&id).await["status"], "cancelled");
    let flags = "select count(*) from orders where payment = 'refunded' and stock = 'released'";
    assert_eq!(shop.count(flags).await, 1);
}

#[tokio::test]
async fn outcomes_of_unknown_orders_poison_nothing() {
    let shop = Shop::open().await;
    let unknown = OrderId::try_from("order-123".to_owned()).unwrap();
    shop.say(captured(&unknown)).await;
    shop.say(StockReserved { order_id: unknown.clone() }).await;
    let id = shop.place(&latte("c-1")).await;
    shop.say(captured(&id)).await;
    shop.say(StockReserved { order_id: id.clone() }).await;
    shop.status_becomes(&id, "confirmed").await;
    shop.world.settle(&shop.api).await;
    assert!(shop.world.dead_letters().await.is_empty());
}
