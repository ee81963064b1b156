use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{Processor, answer, latte};

#[tokio::test]
async fn a_charge_is_refunded_once_and_in_full() {
    let processor = Processor::start().await;
    let charge = processor.charge("charge:o-1", latte("o-1", "ann")).await.body;
    let id = charge["chargeId"].as_str().unwrap();

    let first = processor.refund("refund:o-1", id).await;
    let again = processor.refund("refund:o-1", id).await;
    assert_eq!((first.status, &first.body["status"]), (StatusCode::CREATED, &json!("refunded")));
    assert_eq!((again.status, &again.body), (StatusCode::CREATED, &first.body));
    assert_eq!(processor.refund("another", id).await.status, StatusCode::CONFLICT);

    let statement = answer(processor.request(Method::GET, &format!("/charges/{id}"))).await.body;
    assert_eq!(statement["refunded"].as_f64(), Some(4.5));
    // A repeated charge still gets its first answer.
    assert_eq!(processor.charge("charge:o-1", latte("o-1", "ann")).await.body, charge);
}

#[tokio::test]
async fn a_refund_needs_a_charge_and_a_key_of_its_own() {
    let processor = Processor::start().await;
    assert_eq!(processor.refund("r", "ch_unknown").await.status, StatusCode::NOT_FOUND);

    let one = processor.charge("1", latte("o-1", "ann")).await.body;
    let two = processor.charge("2", latte("o-2", "ann")).await.body;
    processor.refund("r", one["chargeId"].as_str().unwrap()).await;
    let taken = processor.refund("r", two["chargeId"].as_str().unwrap()).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
}
