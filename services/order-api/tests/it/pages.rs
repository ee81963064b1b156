use serde_json::{Value, json};
use testing::STAFF_TOKEN;

use crate::shop::{Shop, latte, problem};

#[tokio::test]
async fn the_menu_has_names_skus_and_prices() {
    let shop = Shop::open().await;
    let answer = shop.get("/menu").await.text().await.unwrap();
    assert!(answer.contains(r#"{"sku":"latte","name":"Latte","price":4.50}"#), "{answer}");
}

#[tokio::test]
async fn the_api_is_described_completely() {
    let shop = Shop::open().await;
    let page: Value = shop.get("/openapi.json").await.json().await.unwrap();
    let operations = [
        ("/menu", "get", &["200", "503"][..]),
        ("/orders", "post", &["201", "400", "408", "409", "413", "415", "422", "429", "500", "503"]),
        ("/orders", "get", &["200", "400", "401", "422", "429", "503"]),
        ("/orders/{id}", "get", &["200", "404", "503"]),
        ("/orders/{id}/events", "get", &["200", "204", "404", "429", "503"]),
    ];
    for (path, method, statuses) in operations {
        let responses = &page["paths"][path][method]["responses"];
        let described: Vec<&String> = responses.as_object().expect(path).keys().collect();
        assert_eq!(described, statuses, "{method} {path}");
    }
    let schemas = page["components"]["schemas"].as_object().unwrap();
    for name in ["NewOrder", "Accepted", "OrderView", "Problem", "FieldError", "Menu", "Orders"] {
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    assert!(page["paths"]["/orders"]["post"]["responses"]["201"]["headers"]["Location"].is_object());
    let docs = shop.get("/docs/").await;
    assert_eq!(docs.status(), 200);
    assert!(docs.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self';"));
    assert!(docs.text().await.unwrap().contains("swagger"));
}

#[tokio::test]
async fn staff_see_the_latest_orders_page_by_page() {
    let shop = Shop::open().await;
    let refused = shop.get("/orders").await;
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    problem(refused, 401).await;
    let list = async |query: &str| {
        let request = shop.http.get(shop.url(&format!("/orders{query}"))).bearer_auth(STAFF_TOKEN);
        request.send().await.unwrap()
    };
    let page = async |query: &str| list(query).await.json::<Value>().await.unwrap();
    assert_eq!(page("").await, json!({ "orders": [] }));

    futures::future::join_all((0..104).map(|_| async { shop.place(&latte("c")).await })).await;
    let newest = shop.place(&latte("last")).await;
    let first = page("").await;
    assert_eq!(first["orders"].as_array().unwrap().len(), 100);
    assert_eq!(first["orders"][0]["orderId"], newest.as_str());
    let second = page(&format!("?before={}", first["next"].as_str().unwrap())).await;
    assert_eq!(second["orders"].as_array().unwrap().len(), 5);
    assert!(second["next"].is_null());
    assert_eq!(page("?status=cancelled").await["orders"], json!([]));
    assert_eq!(page("?status=received").await["orders"].as_array().unwrap().len(), 100);
    let wrong = problem(list("?status=lost").await, 422).await;
    assert_eq!(wrong["errors"][0]["pointer"], "/status");
}

#[tokio::test]
async fn a_page_far_back_is_found_without_reading_all_before_it() {
    let shop = Shop::open().await;
    let many =
        "insert into orders (order_id, customer_id, items, total_cents, status, traceparent, deadline_at)
                select 'order-' || lpad(n::text, 11, '0') || '-', 'c', '[]', 0, 'ready', '', now()
                from generate_series(1, 50000) as n";
    sqlx::query(many).execute(shop.api.pool()).await.unwrap();
    let far = shop.http.get(shop.url("/orders?before=order-00000000200-")).bearer_auth(STAFF_TOKEN);
    let page: Value = far.send().await.unwrap().json().await.unwrap();
    assert_eq!(page["orders"][0]["orderId"], "order-00000000199-");
    let rows = shop.orders_read(100).await;
    assert!(rows < 1_000, "{rows} rows read");
    let some = "update orders set deadline_at = now() + interval '1 hour',
                    status = case when order_id < 'order-00000000010' then 'received' else 'preparing' end
                where order_id < 'order-00000000020'";
    sqlx::query(some).execute(shop.api.pool()).await.unwrap();
    sqlx::query("analyze orders").execute(shop.api.pool()).await.unwrap();
    let before = shop.orders_read(119).await;
    for (status, orders) in [("received", 9), ("preparing", 10), ("cancelled", 0)] {
        let few = shop.http.get(shop.url(&format!("/orders?status={status}"))).bearer_auth(STAFF_TOKEN);
        let page: Value = few.send().await.unwrap().json().await.unwrap();
        assert_eq!(page["orders"].as_array().unwrap().len(), orders, "{status}");
    }
    let rows = shop.orders_read(before + 19).await - before;
    assert!(rows < 1_000, "{rows} rows read");
}
