use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{Processor, answer, latte};

#[tokio::test]
async fn only_staff_may_switch_the_behaviour() {
    let processor = Processor::start().await;
    let request = processor.request(Method::PUT, "/behaviour").json(&json!({"failRate": 1}));
    assert_eq!(answer(request).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(processor.behave(json!({"failRate": 2})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let now = answer(processor.request(Method::GET, "/behaviour")).await.body;
    assert_eq!(now["failRate"], json!(0.0));
}

#[tokio::test]
async fn failing_it_books_nothing() {
    let processor = Processor::start().await;
    assert_eq!(processor.behave(json!({"failRate": 1})).await.status, StatusCode::OK);
    assert_eq!(processor.charge("k", latte("o-1", "ann")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    processor.behave(json!({})).await;
    assert!(processor.charges("o-1").await.is_empty());
    assert_eq!(processor.charge("k", latte("o-1", "ann")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_caller_that_was_left_waiting_was_charged_and_hears_so_when_it_asks_again() {
    let processor = Processor::start().await;
    processor.behave(json!({"timeoutAfterSuccessRate": 1})).await;
    let request = processor.request(Method::POST, "/charges").header("Idempotency-Key", "k");
    let impatient = request.json(&latte("o-1", "ann")).timeout(Duration::from_millis(300)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    assert_eq!(processor.charges("o-1").await.len(), 1);
    assert_eq!(processor.charge("k", latte("o-1", "ann")).await.status, StatusCode::CREATED);
    assert_eq!(processor.charges("o-1").await.len(), 1);
}
