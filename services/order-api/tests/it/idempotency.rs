use futures::future::join_all;
use serde_json::{Value, json};

use crate::shop::{Shop, latte, problem};

#[tokio::test]
async fn the_same_key_and_order_get_the_same_answer() {
    let shop = Shop::open().await;
    let first = shop.post_with_key("\"k-1\"", &latte("c-1")).await;
    assert_eq!(first.status(), 201);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let location = first.headers()["location"].clone();
    let first = first.text().await.unwrap();
    let rephrased =
        json!({ "items": [{ "sku": "latte", "price": 4.50, "quantity": 2 }], "customerId": "c-1" });
    for order in [latte("c-1"), rephrased] {
        let again = shop.post_with_key("k-1", &order).await;
        assert_eq!(again.status(), 201);
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert_eq!(again.headers()["location"], location);
        assert_eq!(again.text().await.unwrap(), first);
    }
    problem(shop.post_with_key("k-1", &latte("c-2")).await, 422).await;
    assert_eq!(shop.orders().await, 1);
    assert_eq!(shop.count("select count(*) from outbox").await, 1);
}

#[tokio::test]
async fn a_refused_order_does_not_use_up_its_key() {
    let shop = Shop::open().await;
    problem(shop.post_with_key("k", &latte("")).await, 422).await;
    assert_eq!(shop.post_with_key("k", &latte("c")).await.status(), 201);
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let shop = Shop::open().await;
    assert_eq!(shop.post_with_key("k", &latte("c-1")).await.status(), 201);
    sqlx::query("update idempotency_keys set created_at = now() - interval '25 hours'")
        .execute(shop.api.pool())
        .await
        .unwrap();
    assert_eq!(shop.post_with_key("k", &latte("c-2")).await.status(), 201);
    assert_eq!(shop.orders().await, 2);
}

#[tokio::test]
async fn twenty_requests_at_once_with_one_key_make_one_order() {
    let shop = Shop::open().await;
    let order = latte("c-1");
    let answers = join_all((0..20).map(|_| shop.post_with_key("k", &order))).await;
    let mut ids = Vec::new();
    for answer in answers {
        match answer.status().as_u16() {
            201 => ids.push(answer.json::<Value>().await.unwrap()["orderId"].clone()),
            _ => assert!(!problem(answer, 409).await.is_null()),
        }
    }
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(shop.orders().await, 1);
    assert_eq!(shop.count("select count(*) from outbox").await, 1);
}

#[tokio::test]
async fn two_instances_agree_about_keys() {
    let shop = Shop::open().await;
    let second = Shop::instance(&shop.world, "order-api-2", &[]).await;
    let urls = [shop.url("/orders"), format!("{}/orders", second.url())];
    // Forty keys, each sent to both instances twice, in different orders: no deadlock, no second order.
    let requests = (0..160).map(|n| {
        let key = if n % 2 == 0 { n / 4 } else { 39 - n / 4 };
        let request = shop.http.post(&urls[n % 2]).header("Idempotency-Key", format!("k-{key:02}"));
        request.json(&latte(&format!("c-{key}"))).send()
    });
    for answer in join_all(requests).await {
        let status = answer.unwrap().status().as_u16();
        assert!(status == 201 || status == 409, "{status}");
    }
    assert_eq!(shop.orders().await, 40);
    assert_eq!(shop.count("select count(distinct customer_id) from orders").await, 40);
    let other = shop.http.post(&urls[1]).header("Idempotency-Key", "k-00").json(&latte("c-1"));
    problem(other.send().await.unwrap(), 422).await;
}
