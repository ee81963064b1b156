//! What the inventory does with what it hears.

use testing::{SAMPLE, World, eventually};

use crate::support::{INITIAL, answers, available, cancelled, created, inventory, state, wrong_skus};

fn answer(order: &str, kind: &str, reason: &str) -> (String, String, String) {
    (order.to_owned(), kind.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn the_sample_event_reserves_one_latte_however_often_it_comes() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    for _ in 0..11 {
        world.publish("orders.created", SAMPLE).await;
    }
    world.settle(&inventory).await;
    assert_eq!(available(&inventory, "latte").await, INITIAL - 1);
    assert_eq!(answers(&world).await, [answer("order-123", "StockReserved", "")]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_cancelled_order_gives_its_stock_back() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    world.publish_event(&created("o-1", &[("Latte", 2), ("Mocha", 1)])).await;
    world.settle(&inventory).await;
    assert_eq!(available(&inventory, "latte").await, INITIAL - 2);
    world.publish_event(&cancelled("o-1")).await;
    world.settle(&inventory).await;
    assert_eq!(available(&inventory, "latte").await, INITIAL);
    assert_eq!(
        answers(&world).await,
        [answer("o-1", "StockReleased", ""), answer("o-1", "StockReserved", "")]
    );
    assert_eq!(state(&inventory, "o-1").await.as_deref(), Some("released"));
}

#[tokio::test]
async fn an_order_cancelled_before_it_was_heard_of_reserves_nothing() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    world.publish_event(&cancelled("o-1")).await;
    world.settle(&inventory).await;
    world.publish_event(&created("o-1", &[("Latte", 2)])).await;
    world.settle(&inventory).await;
    assert_eq!(available(&inventory, "latte").await, INITIAL);
    assert_eq!(state(&inventory, "o-1").await.as_deref(), Some("cancelled"));
    assert!(answers(&world).await.is_empty());
}

#[tokio::test]
async fn what_is_out_of_stock_or_unknown_is_rejected_with_a_reason_for_the_customer() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    sqlx::query("update stock set initial = 3, available = 3 where sku = 'latte'")
        .execute(inventory.pool())
        .await
        .unwrap();
    for order in ["o-1", "o-2", "o-3", "o-4"] {
        world.publish_event(&created(order, &[("latte", 1), ("Mocha", 1)])).await;
    }
    world.publish_event(&created("o-5", &[("Mocha", 1), ("Unicorn", 1)])).await;
    world.settle(&inventory).await;
    let answers = answers(&world).await;
    assert_eq!(answers[3], answer("o-4", "StockRejected", "out of stock: Latte"));
    assert_eq!(answers[4], answer("o-5", "StockRejected", "we do not sell Unicorn"));
    assert_eq!(
        (available(&inventory, "latte").await, available(&inventory, "mocha").await),
        (0, INITIAL - 3)
    );
    assert!(wrong_skus(&inventory).await.is_empty());
}

#[tokio::test]
async fn a_bad_event_is_buried_and_its_neighbours_are_reserved() {
    let world = World::start().await;
    let inventory = inventory(&world).await;
    world.publish("orders.created", "{ not json").await;
    world.publish_event(&created("o-1", &[("Latte", 1)])).await;
    world.settle(&inventory).await;
    assert_eq!(available(&inventory, "latte").await, INITIAL - 1);
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn two_instances_share_the_work_and_one_is_killed_meanwhile() {
    const ORDERS: i64 = 400;
    let world = World::start().await;
    let one = inventory(&world).await;
    let mut two =
        world.service("inventory", env!("CARGO_BIN_EXE_inventory")).instance("inventory-2").start().await;
    sqlx::query("update stock set initial = 300, available = 300 where sku = 'mocha'")
        .execute(one.pool())
        .await
        .unwrap();
    for n in 0..ORDERS {
        let order = format!("o-{n}");
        let created = created(&order, &[("Mocha", 1), ("Espresso", 2)]);
        match n % 4 {
            0 => {
                world.publish_event(&cancelled(&order)).await;
                world.publish_event(&created).await;
            }
            1 => {
                world.publish_event(&created).await;
                world.publish_event(&cancelled(&order)).await;
            }
            _ => world.publish_event(&created).await,
        }
        if n == ORDERS / 2 {
            two.restart().await;
        }
    }
    world.settle(&one).await;
    let live = "select count(*) from reservations where state = 'reserved'";
    let live: i64 = sqlx::query_scalar(live).fetch_one(one.pool()).await.unwrap();
    assert!(wrong_skus(&one).await.is_empty());
    assert_eq!(available(&one, "espresso").await, INITIAL - 2 * live);
    assert!(available(&one, "mocha").await >= 0);
    let decided = "select count(*) from reservations";
    assert_eq!(sqlx::query_scalar::<_, i64>(decided).fetch_one(one.pool()).await.unwrap(), ORDERS);

    let mut answered: Vec<_> =
        answers(&world).await.into_iter().map(|(order, kind, _)| (order, kind)).collect();
    let all = answered.len();
    answered.dedup();
    assert_eq!(answered.len(), all, "something was said twice");
    assert!(world.dead_letters().await.is_empty());
    eventually("both instances say that they did something", async || {
        let busy = "select count(*) from consumer_instances where handled > 0";
        let busy: i64 = sqlx::query_scalar(busy).fetch_one(one.pool()).await.unwrap();
        (busy == 2).then_some(())
    })
    .await;
}
