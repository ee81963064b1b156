use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{Processor, answer, latte};

#[tokio::test]
async fn a_charge_repeated_at_once_and_later_is_made_once() {
    let mut processor = Processor::start().await;
    let tries = (0..20).map(|_| processor.charge("charge:o-1", latte("o-1", "ann")));
    let answers = join_all(tries).await;
    processor.service.restart().await;
    let later = processor.charge("\"charge:o-1\"", latte("o-1", "ann")).await;

    assert_eq!(later.status, StatusCode::CREATED);
    assert_eq!((&later.body["status"], later.body["amount"].as_f64()), (&json!("captured"), Some(4.5)));
    assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED && answer.body == later.body));
    assert_eq!(processor.charges("o-1").await.len(), 1);
}

#[tokio::test]
async fn an_answered_charge_survives_a_killed_process() {
    let mut processor = Processor::start().await;
    let charges = (0..50).map(|n| {
        let processor = &processor;
        async move { processor.charge(&format!("k{n}"), latte(&format!("o-{n}"), "ann")).await }
    });
    assert!(join_all(charges).await.iter().all(|answer| answer.status == StatusCode::CREATED));
    processor.service.restart().await;
    let stored: i64 =
        sqlx::query_scalar("select count(*) from charges").fetch_one(processor.service.pool()).await.unwrap();
    assert_eq!(stored, 50);
}

#[tokio::test]
async fn a_key_belongs_to_one_charge() {
    let processor = Processor::start().await;
    processor.charge("k", latte("o-1", "ann")).await;
    for other in [
        latte("o-2", "ann"),
        latte("o-1", "bob"),
        json!({"reference": "o-1", "customer": "ann", "amount": 5}),
    ] {
        assert_eq!(processor.charge("k", other).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(processor.charges("o-2").await.is_empty());
}

#[tokio::test]
async fn a_declined_card_stays_declined() {
    let processor = Processor::start().await;
    let first = processor.charge("k", latte("o-1", "declined-1")).await;
    let again = processor.charge("k", latte("o-1", "declined-1")).await;
    assert_eq!(
        (first.status, &first.body["chargeStatus"]),
        (StatusCode::PAYMENT_REQUIRED, &json!("declined"))
    );
    assert!(first.body["reason"].as_str().unwrap().contains("declined"));
    assert_eq!(first.body, again.body);

    let refund = processor.refund("r", first.body["chargeId"].as_str().unwrap()).await;
    assert_eq!(refund.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_book_nothing() {
    let processor = Processor::start().await;
    let no_key = answer(processor.request(Method::POST, "/charges").json(&latte("o-1", "ann"))).await;
    assert_eq!(no_key.status, StatusCode::BAD_REQUEST);
    assert!(no_key.body["detail"].as_str().unwrap().contains("Idempotency-Key"));

    let form = processor.request(Method::POST, "/charges").header("Idempotency-Key", "k");
    let form = answer(form.header("content-type", "text/plain").body(latte("o-1", "ann").to_string())).await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let bad = processor.charge("k", json!({"reference": 7, "customer": "a\u{0}b", "amount": "4.50"})).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<_> = bad.body["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, [&json!("/reference"), &json!("/customer"), &json!("/amount")]);

    assert_eq!(processor.charge("k", json!([])).await.status, StatusCode::BAD_REQUEST);
    assert!(processor.charges("o-1").await.is_empty());
    let unknown = answer(processor.request(Method::GET, "/charges/ch_unknown")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    for unreadable in ["/charges/%ff", "/charges?reference=a&reference=b"] {
        let answer = answer(processor.request(Method::GET, unreadable)).await;
        assert_eq!((answer.status, &answer.body["status"]), (StatusCode::BAD_REQUEST, &json!(400)));
    }
}
