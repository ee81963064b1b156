//! What the loyalty programme does with what it hears.

use testing::{SAMPLE, World, eventually};

use crate::support::{cancelled, created, loyalty, points, state, wrong_balances};

#[tokio::test]
async fn the_sample_event_is_worth_four_points_however_often_it_comes() {
    let world = World::start().await;
    let loyalty = loyalty(&world).await;
    for _ in 0..11 {
        world.publish("orders.created", SAMPLE).await;
    }
    world.settle(&loyalty).await;
    assert_eq!(points(&loyalty, "cust-456").await, Some(4));
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_cancelled_order_is_worth_nothing() {
    let world = World::start().await;
    let loyalty = loyalty(&world).await;
    world.publish_event(&created("o-1", "cust-1", 900)).await;
    world.publish_event(&created("o-2", "cust-1", 450)).await;
    world.settle(&loyalty).await;
    assert_eq!(points(&loyalty, "cust-1").await, Some(13));
    world.publish_event(&cancelled("o-1", "cust-1")).await;
    world.settle(&loyalty).await;
    assert_eq!(points(&loyalty, "cust-1").await, Some(4));
    assert_eq!(state(&loyalty, "o-1").await.as_deref(), Some("taken_back"));
}

#[tokio::test]
async fn an_order_cancelled_before_it_was_heard_of_is_never_awarded() {
    let world = World::start().await;
    let loyalty = loyalty(&world).await;
    world.publish_event(&cancelled("o-1", "cust-1")).await;
    world.settle(&loyalty).await;
    world.publish_event(&created("o-1", "cust-1", 900)).await;
    world.settle(&loyalty).await;
    assert_eq!(points(&loyalty, "cust-1").await, Some(0));
    assert_eq!(state(&loyalty, "o-1").await.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn two_instances_share_the_work_and_one_is_killed_meanwhile() {
    const ORDERS: i64 = 400;
    let world = World::start().await;
    let one = loyalty(&world).await;
    let mut two = world.service("loyalty", env!("CARGO_BIN_EXE_loyalty")).instance("loyalty-2").start().await;
    for n in 0..ORDERS {
        let (order, customer) = (format!("o-{n}"), format!("cust-{}", n % 5));
        let created = created(&order, &customer, 450);
        match n % 4 {
            0 => {
                world.publish_event(&cancelled(&order, &customer)).await;
                world.publish_event(&created).await;
            }
            1 => {
                world.publish_event(&created).await;
                world.publish_event(&cancelled(&order, &customer)).await;
            }
            _ => world.publish_event(&created).await,
        }
        if n == ORDERS / 2 {
            two.restart().await;
        }
    }
    world.settle(&one).await;
    assert!(wrong_balances(&one).await.is_empty());
    let total: i64 =
        sqlx::query_scalar("select sum(points)::bigint from balances").fetch_one(one.pool()).await.unwrap();
    assert_eq!(total, ORDERS / 2 * 4);
    assert!(world.dead_letters().await.is_empty());
    eventually("both instances say that they did something", async || {
        let busy = "select count(*) from consumer_instances where handled > 0";
        let busy: i64 = sqlx::query_scalar(busy).fetch_one(one.pool()).await.unwrap();
        (busy == 2).then_some(())
    })
    .await;
}
