use serde_json::Value;
use testing::{SAMPLE, eventually};

use crate::counter::Counter;
use crate::shop::is_running;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_through_every_service_and_the_shop_closes_without_a_trace() {
    let counter = Counter::open(&[]);
    let order = counter.order("ann").await;
    counter.wait_for_status(&order, "confirmed").await;
    for (state, bump) in [("preparing", "start"), ("ready", "ready")] {
        let path = format!("/tickets/{order}/{bump}");
        eventually("the ticket is on the board", async || {
            (counter.staff_post("KITCHEN_DISPLAY_URL", &path).await == 200).then_some(())
        })
        .await;
        counter.wait_for_status(&order, state).await;
    }
    eventually("the receipt and the call to the counter are mailed", async || {
        let mails = counter.mails();
        let to_ann = mails.iter().filter(|mail| mail.contains("To: ann@example.com")).count();
        (to_ann == 2).then_some(())
    })
    .await;
    eventually("points, stock and figures are right", async || {
        let points = counter.get("LOYALTY_URL", "/customers/ann").await;
        let stock = counter.get("INVENTORY_URL", "/stock").await;
        let figures = counter.get("ANALYTICS_URL", "/figures").await;
        (points.to_string().contains("9")
            && stock.to_string().contains("999998")
            && figures["ready"] == 1
            && figures["orders"] == 1)
            .then_some(())
    })
    .await;

    let refused = counter.order("declined-bob").await;
    counter.wait_for_status(&refused, "cancelled").await;
    for _ in 0..11 {
        counter.publish("orders.created", SAMPLE).await;
    }
    counter.audit();
    let timeline = counter.get("ORDER_API_URL", &format!("/orders/{order}")).await["timeline"].clone();
    let whats: Vec<&str> =
        timeline.as_array().unwrap().iter().filter_map(|step| step["what"].as_str()).collect();
    for what in
        ["PaymentCaptured", "StockReserved", "OrderConfirmed", "TicketStarted", "TicketReady", "OrderReady"]
    {
        assert!(whats.contains(&what), "{what} is missing in {whats:?}");
    }
    let figures = counter.get("ANALYTICS_URL", "/figures").await;
    assert_eq!(figures["orders"], 3, "the example counts once: {figures}");

    let pids = counter.shop.pids();
    assert!(pids.len() >= 11);
    assert!(counter.shop.close().status.success());
    assert!(pids.values().all(|pid| !is_running(*pid)), "{pids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_buried_by_each_consumer_and_redriven_to_one() {
    let counter = Counter::open(&[]);
    counter.publish("orders.created", "this is not an event").await;
    let order = counter.order("ann").await;
    counter.wait_for_status(&order, "confirmed").await;
    let letters = eventually("six consumers have buried it", async || {
        let output = counter.coffeectl(&["dlq", "list", "--json"]);
        let letters: Value = serde_json::from_slice(&output.stdout).ok()?;
        (letters.as_array()?.len() == 6).then_some(letters)
    })
    .await;
    counter.audit();
    let loyalty = letters.as_array().unwrap().iter().find(|letter| letter["consumer"] == "loyalty").unwrap();
    let number = loyalty["number"].to_string();
    assert!(counter.coffeectl(&["dlq", "show", &number]).status.success());
    assert!(counter.coffeectl(&["dlq", "redrive", &number]).status.success());
    let redriven = |letters: &Value| {
        let of_loyalty: Vec<_> = letters
            .as_array()
            .unwrap()
            .iter()
            .filter(|letter| letter["consumer"] == "loyalty")
            .cloned()
            .collect();
        of_loyalty.len() == 1 && of_loyalty[0]["number"] != loyalty["number"]
    };
    eventually("loyalty, and nobody else, has buried it again", async || {
        let output = counter.coffeectl(&["dlq", "list", "--json"]);
        let letters: Value = serde_json::from_slice(&output.stdout).ok()?;
        (letters.as_array()?.len() == 6 && redriven(&letters)).then_some(())
    })
    .await;
    let output = counter.coffeectl(&["dlq", "list", "--json"]);
    let left: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers: Vec<String> =
        left.as_array().unwrap().iter().map(|letter| letter["number"].to_string()).collect();
    let mut discard = vec!["dlq", "discard", "--reason", "a test", "--yes"];
    discard.extend(numbers.iter().map(String::as_str));
    assert!(counter.coffeectl(&discard).status.success());
    counter.audit();
}
