use axum::http::{HeaderValue, header};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(body: &str) -> Result<Request, Problem> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    Request::parse(&headers, body.as_bytes())
}

fn pointers(order: Value) -> Vec<String> {
    let problem = parse(&order.to_string()).expect_err("invalid");
    assert_eq!(problem.status, 422);
    problem.errors.into_iter().map(|error| error.pointer).collect()
}

#[test]
fn an_order_by_name_or_sku_is_priced_by_the_menu() {
    let order = json!({ "customerId": "cust-456", "email": "a@example.com", "note": "extra hot", "items": [
        { "name": "LATTE", "quantity": 2 }, { "sku": "latte", "price": 4.5 }, { "name": "Mocha", "sku": "mocha" } ] });
    let request = parse(&order.to_string()).expect("valid");
    assert_eq!(request.total(), Cents(3 * 450 + 490));
    assert_eq!(request.items[0].name, "Latte");
    assert_eq!(request.items[2].quantity, 1);
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let order = json!({ "customerId": "", "email": "nobody", "items": [
        { "name": "Tea", "quantity": 0 }, { "name": "Latte", "price": 1, "quantity": 1000 },
        { "quantity": 1 }, { "name": 7, "quantity": "two" }, "Latte", { "name": "Latte", "sku": "mocha" } ] });
    assert_eq!(
        pointers(order),
        [
            "/customerId",
            "/email",
            "/items/0/name",
            "/items/0/quantity",
            "/items/1/quantity",
            "/items/1/price",
            "/items/2",
            "/items/3/name",
            "/items/3/quantity",
            "/items/4",
            "/items/5/sku"
        ]
    );
}

#[test]
fn bounds_are_kept() {
    let latte = json!({ "name": "Latte" });
    let order =
        |customer: &str, lines: usize| json!({ "customerId": customer, "items": vec![latte.clone(); lines] });
    assert!(parse(&order(&"é".repeat(64), 50).to_string()).is_ok());
    assert_eq!(pointers(order(&"c".repeat(65), 0)), ["/customerId", "/items"]);
    assert_eq!(pointers(order(&"😀".repeat(64), 500)), ["/customerId", "/items"]);
    assert_eq!(pointers(order("a\u{0}b", 51)), ["/customerId", "/items"]);
    assert_eq!(pointers(json!([1])), [""]);
    assert_eq!(pointers(json!({ "customerId": null, "items": {} })), ["/customerId", "/items"]);
    for quantity in [json!(0), json!(101), json!(-1), json!(1.5), json!(1e30), json!("1"), json!([1])] {
        let order = json!({ "customerId": "c", "items": [{ "name": "Latte", "quantity": quantity }] });
        assert_eq!(pointers(order), ["/items/0/quantity"]);
    }
}

#[test]
fn what_is_not_json_is_told_apart_from_what_is_not_an_order() {
    assert_eq!(parse("{\"customerId\"").expect_err("cut off").status, 400);
    assert_eq!(Request::parse(&HeaderMap::new(), b"{}").expect_err("no content type").status, 415);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&body));
    }
}
