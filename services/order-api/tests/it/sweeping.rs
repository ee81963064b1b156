use events::StockReserved;
use testing::eventually;

use crate::shop::{Shop, captured, latte};

#[tokio::test]
async fn an_order_that_nobody_settles_is_cancelled_at_its_deadline() {
    let shop = Shop::with(&[("ORDER_SETTLE_SECONDS", "0")]).await;
    let id = shop.place(&latte("c-1")).await;
    let order = shop.status_becomes(&id, "cancelled").await;
    assert_eq!(order["cancelReason"], "not settled in time");
    shop.say(captured(&id)).await;
    shop.say(StockReserved { order_id: id.clone() }).await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.order(&id).await["status"], "cancelled");
    assert_eq!(shop.world.published("orders.cancelled.*").await.len(), 1);
    assert_eq!(shop.world.published("orders.confirmed.*").await.len(), 0);
}

#[tokio::test]
async fn two_sweepers_cancel_each_order_once() {
    let shop = Shop::with(&[("ORDER_SETTLE_SECONDS", "0")]).await;
    let _second = Shop::instance(&shop.world, "order-api-2", &[("ORDER_SETTLE_SECONDS", "0")]).await;
    futures::future::join_all((0..200).map(|_| async { shop.place(&latte("c")).await })).await;
    eventually("all are cancelled", async || {
        (shop.count("select count(*) from orders where status = 'cancelled'").await == 200).then_some(())
    })
    .await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.world.published("orders.cancelled.*").await.len(), 200);
}

#[tokio::test]
async fn a_confirmed_order_outlives_its_deadline() {
    let shop = Shop::open().await;
    let confirmed = shop.place(&latte("c-1")).await;
    shop.say(captured(&confirmed)).await;
    shop.say(StockReserved { order_id: confirmed.clone() }).await;
    shop.status_becomes(&confirmed, "confirmed").await;
    let overdue = shop.place(&latte("c-2")).await;
    sqlx::query("update orders set deadline_at = now() - interval '1 hour'")
        .execute(shop.api.pool())
        .await
        .unwrap();
    shop.status_becomes(&overdue, "cancelled").await;
    assert_eq!(shop.order(&confirmed).await["status"], "confirmed");
}

#[tokio::test]
async fn expired_keys_are_forgotten() {
    let shop = Shop::open().await;
    assert_eq!(shop.post_with_key("k", &latte("c")).await.status(), 201);
    sqlx::query("update idempotency_keys set created_at = now() - interval '25 hours'")
        .execute(shop.api.pool())
        .await
        .unwrap();
    eventually("the key is gone", async || {
        (shop.count("select count(*) from idempotency_keys").await == 0).then_some(())
    })
    .await;
}
