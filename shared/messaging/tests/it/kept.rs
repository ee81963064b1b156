use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use messaging::{Kept, Lent};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testing::{World, eventually};

/// A pool of four that counts how often it gives a connection out again.
async fn pool(world: &World) -> (PgPool, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let pool = PgPoolOptions::new().max_connections(4).before_acquire(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(true) })
    });
    (pool.connect(&world.database_url("kept").await).await.unwrap(), asked)
}

#[tokio::test]
async fn what_did_well_is_given_to_the_next_without_a_question() {
    let world = World::start().await;
    let (pool, asked) = pool(&world).await;
    let kept = Kept::new(pool.clone());
    for _ in 0..3 {
        let two = [kept.take().await.unwrap(), kept.take().await.unwrap()];
        two.into_iter().for_each(Lent::keep);
    }
    // One was there when the pool was made.
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // The other half of the pool is for others.
    let third = kept.take().await.unwrap();
    let (fourth, fifth) = (kept.take().await.unwrap(), kept.take().await.unwrap());
    [third, fourth, fifth].into_iter().for_each(Lent::keep);
    eventually("the third goes back to the pool", async || (pool.num_idle() == 1).then_some(())).await;
}

#[tokio::test]
async fn after_trouble_the_pool_is_given_all_that_is_kept() {
    let world = World::start().await;
    let (pool, _) = pool(&world).await;
    let kept = Kept::new(pool.clone());
    let (one, other) = (kept.take().await.unwrap(), kept.take().await.unwrap());
    one.keep();
    drop(other);
    eventually("both go back to the pool", async || (pool.num_idle() == 2).then_some(())).await;
}
