use serde_json::{Value, json};

use crate::shop::{Shop, latte, problem};

#[tokio::test]
async fn bad_orders_are_refused_by_field_and_nothing_is_stored() {
    let shop = Shop::open().await;
    let lines = |n: usize| json!({ "customerId": "c", "items": vec![json!({ "name": "Latte" }); n] });
    let line = |line: Value| json!({ "customerId": "c", "items": [line] });
    let cases = [
        (line(json!({ "name": "Tea" })), "/items/0/name"),
        (line(json!({ "sku": "tea" })), "/items/0/sku"),
        (line(json!({ "name": "Latte", "quantity": 0 })), "/items/0/quantity"),
        (line(json!({ "name": "Latte", "quantity": 1000 })), "/items/0/quantity"),
        (line(json!({ "name": "Latte", "quantity": "2" })), "/items/0/quantity"),
        (line(json!({ "name": "Latte", "price": 0.01 })), "/items/0/price"),
        (line(json!("Latte")), "/items/0"),
        (lines(0), "/items"),
        (lines(500), "/items"),
        (json!({ "customerId": "c" }), "/items"),
        (latte(&"c".repeat(65)), "/customerId"),
        (latte("a\nb"), "/customerId"),
        (latte("nul\u{0}"), "/customerId"),
        (json!({ "customerId": 7, "items": [{ "name": "Latte" }] }), "/customerId"),
        (json!({ "customerId": "c", "email": "nobody", "items": [{ "name": "Latte" }] }), "/email"),
        (json!([]), ""),
    ];
    for (order, pointer) in cases {
        let problem = problem(shop.post(&order).await, 422).await;
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{order}: {problem}");
        assert_eq!(errors[0]["pointer"], pointer, "{order}: {problem}");
    }
    let order =
        json!({ "email": "x", "items": [{ "name": "Tea", "quantity": 0 }, { "name": "Latte", "price": 1 }] });
    let problem = problem(shop.post(&order).await, 422).await;
    assert_eq!(problem["errors"].as_array().unwrap().len(), 5, "all at once: {problem}");
    assert_eq!(shop.orders().await, 0);
    assert_eq!(shop.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn what_is_not_an_order_at_all_is_a_problem_too() {
    let shop = Shop::open().await;
    let post = || shop.http.post(shop.url("/orders"));
    let json = |body: &str| post().header("content-type", "application/json").body(body.to_owned());
    for not_json in ["", "{", "customerId=c", "\u{feff}{}"] {
        problem(json(not_json).send().await.unwrap(), 400).await;
    }
    problem(json(&"[".repeat(10_000)).send().await.unwrap(), 400).await;
    problem(post().body("{}").send().await.unwrap(), 415).await;
    problem(post().header("content-type", "text/plain").body("{}").send().await.unwrap(), 415).await;
    problem(json(&" ".repeat(65 * 1024)).send().await.unwrap(), 413).await;
    let chunks = futures::stream::iter((0..80).map(|_| Ok::<_, std::io::Error>(" ".repeat(1024))));
    let streamed = post().header("content-type", "application/json").body(reqwest::Body::wrap_stream(chunks));
    problem(streamed.send().await.unwrap(), 413).await;
    problem(shop.post_with_key("not ok", &latte("c")).await, 400).await;
    assert_eq!(shop.orders().await, 0);
}

#[tokio::test]
async fn ten_megabytes_are_refused_with_an_answer() {
    let shop = Shop::open().await;
    let body = vec![b' '; 10 * 1024 * 1024];
    let request = shop.http.post(shop.url("/orders")).header("content-type", "application/json").body(body);
    problem(request.send().await.unwrap(), 413).await;
    assert_eq!(shop.place(&latte("c")).await.as_str(), shop.count_id().await);
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let shop = Shop::open().await;
    problem(shop.get("/nothing/here").await, 404).await;
    problem(shop.get("/orders/order-unknown").await, 404).await;
    problem(shop.get("/orders/%00").await, 404).await;
    problem(shop.get("/orders/%FF").await, 404).await;
    problem(shop.get("/orders/order-unknown/events").await, 404).await;
    let delete = shop.http.delete(shop.url("/orders")).send().await.unwrap();
    let allow = delete.headers()["allow"].to_str().unwrap().to_owned();
    problem(delete, 405).await;
    assert!(allow.contains("POST") && allow.contains("GET"), "{allow}");
}

impl Shop {
    async fn count_id(&self) -> String {
        sqlx::query_scalar("select order_id from orders").fetch_one(self.api.pool()).await.unwrap()
    }
}
