//! Whatever order an order's events arrive in, its ticket is right.

use testing::{SAMPLE, World};

use crate::kitchen::{board, cancelled, confirmed, created, live, open, staff_bump, state, until};

#[tokio::test]
async fn an_order_is_on_the_board_once_it_is_known_and_confirmed() {
    let world = World::start().await;
    let kitchen = open(&world).await;

    world.publish_event(&created("a")).await;
    until(&kitchen, "a", "pending").await;
    world.publish_event(&confirmed("a")).await;
    until(&kitchen, "a", "waiting").await;

    world.publish_event(&confirmed("b")).await;
    until(&kitchen, "b", "pending").await;
    world.publish_event(&created("b")).await;
    until(&kitchen, "b", "waiting").await;

    let board = board(&kitchen).await;
    let shown: Vec<_> = board["tickets"].as_array().unwrap().iter().map(|t| &t["orderId"]).collect();
    assert_eq!(shown, ["a", "b"]);
    let ticket = &board["tickets"][0];
    assert_eq!(ticket["items"], serde_json::json!([{ "name": "Latte", "quantity": 2 }]));
    assert_eq!((&ticket["customerId"], &board["more"]), (&"cust-456".into(), &0.into()));
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_cancelled_order_is_never_on_the_board() {
    let world = World::start().await;
    let kitchen = open(&world).await;

    world.publish_event(&cancelled("before")).await;
    until(&kitchen, "before", "pulled").await;
    world.publish_event(&created("before")).await;
    world.publish_event(&confirmed("before")).await;

    live(&world, &kitchen, "waiting").await;
    live(&world, &kitchen, "started").await;
    live(&world, &kitchen, "ready").await;
    assert_eq!(staff_bump(&kitchen, "started", "start").await, 200);
    assert_eq!(staff_bump(&kitchen, "ready", "start").await, 200);
    assert_eq!(staff_bump(&kitchen, "ready", "ready").await, 200);
    for order in ["waiting", "started", "ready"] {
        world.publish_event(&cancelled(order)).await;
    }
    world.settle(&kitchen).await;

    for (order, wanted) in
        [("before", "pulled"), ("waiting", "pulled"), ("started", "pulled"), ("ready", "ready")]
    {
        assert_eq!(state(&kitchen, order).await.as_deref(), Some(wanted), "{order}");
    }
    assert_eq!(board(&kitchen).await["tickets"], serde_json::json!([]));
}

#[tokio::test]
async fn the_sample_event_published_ten_times_by_hand_is_one_pending_ticket() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    for _ in 0..10 {
        world.publish("orders.created", SAMPLE).await;
    }
    world.settle(&kitchen).await;

    assert_eq!(state(&kitchen, "order-123").await.as_deref(), Some("pending"));
    let tickets: i64 =
        sqlx::query_scalar("select count(*) from tickets").fetch_one(kitchen.pool()).await.unwrap();
    assert_eq!(tickets, 1);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn the_board_shows_the_hundred_oldest_and_counts_the_rest() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    for n in 0..130 {
        world.publish_event(&created(&format!("order-{n:03}"))).await;
        world.publish_event(&confirmed(&format!("order-{n:03}"))).await;
    }
    world.settle(&kitchen).await;

    let board = board(&kitchen).await;
    let tickets = board["tickets"].as_array().unwrap();
    assert_eq!((tickets.len(), &board["more"]), (100, &30.into()));
    assert_eq!((&tickets[0]["orderId"], &tickets[99]["orderId"]), (&"order-000".into(), &"order-099".into()));
}
