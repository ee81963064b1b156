//! Dead letters from their burial to their end.

use serde_json::Value;

use testing::eventually;

use crate::shop::{Shop, text};

async fn list(shop: &Shop) -> Vec<Value> {
    shop.json(&["dlq", "list"]).await.as_array().unwrap().clone()
}

#[tokio::test]
async fn a_dead_letter_is_listed_shown_redriven_and_discarded() {
    let shop = Shop::open().await;
    shop.world.publish("orders.created", b"\xff not an event").await;
    let letters = eventually("six consumers bury it", async || {
        let letters = list(&shop).await;
        (letters.len() == 6).then_some(letters)
    })
    .await;
    let of_payment = |letters: &[Value]| {
        letters
            .iter()
            .find(|letter| letter["consumer"] == "payment")
            .map(|letter| letter["number"].to_string())
    };
    let number = of_payment(&letters).unwrap();
    let shown = text(&shop.coffeectl(&["dlq", "show", &number]).await);
    assert!(shown.contains("undecodable") && shown.contains("ff 20 6e 6f 74"), "{shown}");

    let refused = shop.coffeectl(&["dlq", "redrive", "--all"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert_eq!(list(&shop).await.len(), 6, "nothing is done without a yes");

    shop.json(&["dlq", "redrive", &number]).await;
    let again = eventually("payment alone buries it again", async || {
        let letters = list(&shop).await;
        (letters.len() == 6).then(|| of_payment(&letters)).flatten()
    })
    .await;
    assert_ne!(again, number);
    assert_eq!(shop.coffeectl(&["dlq", "show", &number]).await.status.code(), Some(2));

    shop.json(&["dlq", "discard", &again, "--reason", "a test"]).await;
    assert_eq!(list(&shop).await.len(), 5);
    let notes = shop.json(&["dlq", "list", "--discarded", "--reason", "a test"]).await;
    assert_eq!(notes.as_array().unwrap().len(), 1);
    shop.assert_audit_holds().await;
}
