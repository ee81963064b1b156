//! What analytics makes of what it hears.

use serde_json::json;
use testing::{SAMPLE, World, eventually};

use crate::support::{Order, adds_up, analytics, figures};

#[tokio::test]
async fn the_sample_event_counts_once_however_often_it_comes() {
    let world = World::start().await;
    let analytics = analytics(&world).await;
    for _ in 0..11 {
        world.publish("orders.created", SAMPLE).await;
    }
    world.settle(&analytics).await;
    let figures = figures(&analytics).await;
    assert_eq!((&figures["orders"], &figures["revenue"]), (&json!(1), &json!(0.0)));
    assert_eq!(figures["bestSellers"], json!([{"name": "Latte", "quantity": 1, "revenue": 4.5}]));
    assert!(adds_up(&analytics).await);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn figures_are_the_same_forwards_and_backwards() {
    for backwards in [false, true] {
        let world = World::start().await;
        let analytics = analytics(&world).await;
        let mut events = Order::of_lattes("o-1", 2).served();
        events.extend(Order::of_lattes("o-2", 3).called_off());
        events.push(Order::of_lattes("o-3", 1).created());
        if backwards {
            events.reverse();
        }
        for event in &events {
            world.publish_event(event).await;
        }
        world.settle(&analytics).await;
        let expected = json!({
            "orders": 3, "confirmed": 1, "cancelled": 1, "ready": 1,
            "revenue": 9.0, "captured": 22.5, "refunded": 13.5,
            "bestSellers": [{"name": "Latte", "quantity": 3, "revenue": 13.5}],
            "averageSecondsToReady": 90.0,
        });
        assert_eq!(figures(&analytics).await, expected, "backwards: {backwards}");
        assert!(adds_up(&analytics).await);
    }
}

#[tokio::test]
async fn an_order_cancelled_before_it_was_heard_of_is_never_sold() {
    let world = World::start().await;
    let analytics = analytics(&world).await;
    let order = Order::of_lattes("o-1", 2);
    for event in [order.cancelled(), order.created()] {
        world.publish_event(&event).await;
        world.settle(&analytics).await;
    }
    let figures = figures(&analytics).await;
    assert_eq!((&figures["orders"], &figures["cancelled"]), (&json!(1), &json!(1)));
    assert_eq!(figures["bestSellers"], json!([]));
    assert!(adds_up(&analytics).await);
}

#[tokio::test]
async fn two_instances_share_the_work_and_one_is_killed_meanwhile() {
    const ORDERS: usize = 300;
    let world = World::start().await;
    let one = analytics(&world).await;
    let mut two =
        world.service("analytics", env!("CARGO_BIN_EXE_analytics")).instance("analytics-2").start().await;
    for n in 0..ORDERS {
        let order = Order::of_lattes(&format!("o-{n}"), 1);
        let mut events = if n % 3 == 0 { order.called_off() } else { order.served() };
        if n % 2 == 0 {
            events.reverse();
        }
        for event in &events {
            world.publish_event(event).await;
        }
        if n == ORDERS / 2 {
            two.restart().await;
        }
    }
    world.settle(&one).await;
    assert!(adds_up(&one).await);
    let figures = figures(&two).await;
    assert_eq!(figures["orders"], ORDERS);
    assert_eq!(figures["ready"], ORDERS * 2 / 3);
    assert_eq!(figures["revenue"], ORDERS as f64 * 2.0 / 3.0 * 4.5);
    assert!(world.dead_letters().await.is_empty());
    eventually("both instances say that they did something", async || {
        let busy = "select count(*) from consumer_instances where handled > 0";
        let busy: i64 = sqlx::query_scalar(busy).fetch_one(one.pool()).await.unwrap();
        (busy == 2).then_some(())
    })
    .await;
}
