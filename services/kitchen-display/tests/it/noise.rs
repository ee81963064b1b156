//! Arbitrary messages between good orders: the good ones come onto the board, what cannot be read is buried,
//! and nothing else happens.

use testing::World;

use crate::kitchen::{confirmed, created, open, until};

#[tokio::test]
async fn noise_on_the_stream_holds_up_no_ticket() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    let subjects = ["orders.created", "orders.created.5", "orders.confirmed.2", "orders.cancelled.7"];
    let unreadable = world
        .make_noise(&subjects, 500, async |n| {
            let order = format!("good-{n}");
            match n % 10 {
                0 => world.publish_event(&created(&order)).await,
                5 => world.publish_event(&confirmed(&format!("good-{}", n - 5))).await,
                _ => {}
            }
        })
        .await;
    for n in (0..500).step_by(10) {
        until(&kitchen, &format!("good-{n}"), "waiting").await;
    }
    world.assert_noise_is_buried(&kitchen, unreadable).await;
    assert!(kitchen.is_running());
}
