//! Processes die while orders keep coming; afterwards the audit finds nothing.

use futures::StreamExt;
use testing::eventually;

use crate::counter::Counter;

/// Places `count` orders, a few at a time, each until it is answered 201, and calls `strike` along the way.
async fn orders_during(counter: &Counter, count: usize, strike: impl Fn(usize)) -> Vec<String> {
    let place = |n: usize| {
        let key = format!("\"key-{n}\"");
        let customer = format!("customer-{}", n % 17);
        async move { eventually("the order is taken", async || counter.try_order(&customer, &key).await).await }
    };
    let mut placed = Vec::new();
    let mut orders = futures::stream::iter(0..count).map(place).buffered(8);
    while let Some(order) = orders.next().await {
        placed.push(order);
        strike(placed.len());
    }
    placed
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_service_dies_during_orders_nothing_is_lost_or_done_twice() {
    let counter = Counter::open(&["--scale", "payment=2", "--scale", "kitchen-display=2"]);
    let victims = [
        "payment",
        "inventory",
        "order-api",
        "email",
        "loyalty",
        "kitchen-display",
        "analytics",
        "card-processor",
    ];
    let orders = orders_during(&counter, 400, |placed| {
        if placed % 45 == 0
            && let Some(victim) = victims.get(placed / 45 - 1)
        {
            counter.kill(victim);
        }
    })
    .await;
    counter.audit();
    for order in &orders {
        assert_eq!(counter.status(order).await, "confirmed", "order {order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broker_and_database_die_during_orders_and_nothing_is_lost() {
    let counter = Counter::open(&[]);
    let orders = orders_during(&counter, 200, |placed| match placed {
        50 => counter.kill("nats"),
        120 => counter.kill("postgres"),
        _ => {}
    })
    .await;
    counter.audit();
    for order in &orders {
        assert_eq!(counter.status(order).await, "confirmed", "order {order}");
    }
}
