//! The stock over HTTP.

use serde_json::{Value, json};
use testing::{STAFF_TOKEN, World};

use crate::support::{INITIAL, available, created, inventory, wrong_skus};

#[tokio::test]
async fn anyone_may_see_the_stock_and_staff_may_set_it() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    world.publish_event(&created("o-1", &[("Latte", 2)])).await;
    world.settle(&inventory).await;

    let http = reqwest::Client::new();
    let list = format!("{}/stock", inventory.url());
    let stock: Vec<Value> = http.get(&list).send().await.unwrap().json().await.unwrap();
    assert_eq!(stock.len(), 10);
    assert!(stock.contains(&json!({"sku": "latte", "name": "Latte", "available": INITIAL - 2})));

    let put = |sku: &str| http.put(format!("{}/stock/{sku}", inventory.url()));
    let refused = put("latte").json(&json!({"available": 5})).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(available(&inventory, "latte").await, INITIAL - 2);

    let set = put("latte").bearer_auth(STAFF_TOKEN).json(&json!({"available": 5})).send().await.unwrap();
    assert_eq!(set.status(), 200);
    assert_eq!(available(&inventory, "latte").await, 5);
    assert!(wrong_skus(&inventory).await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_a_problem() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    let http = reqwest::Client::new();
    let cases = [
        ("unicorn", json!({"available": 5}), 404),
        ("latte", json!({"available": -1}), 422),
        ("latte", json!({"available": 2_000_000_000_000_i64}), 422),
        ("latte", json!({"available": "many"}), 422),
        ("latte", json!({}), 422),
        ("a%00b", json!({"available": 5}), 422),
        ("a%FFb", json!({"available": 5}), 400),
    ];
    for (sku, body, status) in cases {
        let request = http.put(format!("{}/stock/{sku}", inventory.url())).bearer_auth(STAFF_TOKEN);
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{sku} {body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{sku} {body}");
    }
    assert_eq!(available(&inventory, "latte").await, INITIAL);
}
