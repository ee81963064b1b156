//! A broker that comes back without what it had stored gets it again from the outbox.

use std::collections::BTreeSet;

use async_nats::jetstream::consumer::DeliverPolicy;
use events::topology::{DLQ, ORDERS};
use sqlx::PgPool;
use testing::{World, eventually};

use crate::outbox::{start_relay, wait_until_published, write};
use crate::recorder::{self, Recorder, order, run, wait_for_effects};

/// Crashes the broker; what it stored since the last copy is lost.
async fn crash(world: &World, meanwhile: impl AsyncFnOnce()) {
    world.stop_nats().await;
    world.lose_broker_store();
    meanwhile().await;
    world.start_nats().await;
}

/// Waits until these orders are all on the stream.
async fn wait_until_stored(world: &World, orders: std::ops::Range<usize>) {
    let wanted: BTreeSet<String> = orders.map(|n| format!("order-{n}")).collect();
    eventually("the broker holds every order", async || {
        world.jetstream().get_stream(ORDERS.name).await.ok()?;
        let bodies = world.published("orders.created.*").await;
        let stored = bodies.iter().filter_map(|body| body["data"]["orderId"].as_str().map(str::to_owned));
        let stored: BTreeSet<String> = stored.collect();
        wanted.is_subset(&stored).then_some(())
    })
    .await;
}

async fn published(pool: &PgPool) -> i64 {
    let count = "select count(*) from outbox_stored";
    sqlx::query_scalar(count).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_broker_that_lost_its_last_seconds_is_refilled_and_nothing_is_processed_twice() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (relay, consumer) = (start_relay(&world, &pool), run(&world, &pool, "a", Recorder));
    write(&pool, 0..200).await;
    wait_until_published(&pool).await;
    world.copy_broker_store();
    write(&pool, 200..300).await;
    wait_until_published(&pool).await;
    crash(&world, async || write(&pool, 300..310).await).await;
    wait_until_stored(&world, 0..310).await;
    let mut effects = wait_for_effects(&pool, "loyalty", 310).await;
    let all = effects.len();
    effects.sort();
    effects.dedup();
    assert_eq!((all, effects.len()), (310, 310));
    consumer.stop().await;
    relay.cancel();
}

#[tokio::test]
async fn others_that_fill_the_gap_first_do_not_hide_the_loss() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let relay = start_relay(&world, &pool);
    write(&pool, 0..50).await;
    wait_until_published(&pool).await;
    world.copy_broker_store();
    write(&pool, 50..100).await;
    wait_until_published(&pool).await;
    // The relay is away while the broker loses its tail and others publish twice as much as was lost.
    relay.cancel();
    crash(&world, async || {}).await;
    for n in 0..100 {
        world.publish_event(&order(&format!("other-{n}"))).await;
    }
    let consumer = run(&world, &pool, "a", Recorder);
    wait_until_stored(&world, 0..100).await;
    wait_for_effects(&pool, "loyalty", 200).await;
    consumer.stop().await;
}

/// The broker comes back believing that its consumer is further than its messages reach; what is then
/// stored in the gap must reach the consumer all the same.
#[tokio::test]
async fn a_consumer_that_was_further_than_the_messages_misses_nothing_new() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let relay = start_relay(&world, &pool);
    let consumer = run(&world, &pool, "a", Recorder);
    write(&pool, 0..50).await;
    wait_for_effects(&pool, "loyalty", 50).await;
    world.copy_broker_store();
    write(&pool, 50..100).await;
    wait_for_effects(&pool, "loyalty", 100).await;
    consumer.stop().await;
    relay.cancel();
    world.stop_nats().await;
    world.lose_broker_messages();
    world.start_nats().await;
    for n in 0..30 {
        world.publish_event(&order(&format!("other-{n}"))).await;
    }
    let consumer = run(&world, &pool, "a", Recorder);
    wait_for_effects(&pool, "loyalty", 130).await;
    wait_until_stored(&world, 0..100).await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_broker_that_lost_everything_gets_everything_the_outbox_keeps() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (relay, consumer) = (start_relay(&world, &pool), run(&world, &pool, "a", Recorder));
    write(&pool, 0..1_500).await;
    wait_until_published(&pool).await;
    wait_for_effects(&pool, "loyalty", 1_500).await;
    crash(&world, async || write(&pool, 1_500..1_510).await).await;
    wait_until_stored(&world, 0..1_510).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 1_510).await.len(), 1_510);
    consumer.stop().await;
    relay.cancel();
}

#[tokio::test]
async fn a_deleted_stream_is_made_again_and_refilled_though_the_connection_never_broke() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (relay, consumer) = (start_relay(&world, &pool), run(&world, &pool, "a", Recorder));
    write(&pool, 0..100).await;
    wait_until_published(&pool).await;
    world.jetstream().delete_stream(ORDERS.name).await.unwrap();
    wait_until_stored(&world, 0..100).await;
    write(&pool, 100..120).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 120).await.len(), 120);
    consumer.stop().await;
    relay.cancel();
}

/// A statement that is too long for its limit is undone, and would be tried again for ever.
#[tokio::test]
async fn a_long_history_waits_again_by_portions() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let relay = start_relay(&world, &pool);
    write(&pool, 0..25_000).await;
    wait_until_published(&pool).await;
    let noting = "create table portions (size bigint not null);
         create function note() returns trigger language plpgsql as $$
         begin insert into portions select count(*) from portion; return null; end $$;
         create trigger noted after insert on outbox_waiting referencing new table as portion
         for each statement execute function note()";
    sqlx::raw_sql(noting).execute(&pool).await.unwrap();
    world.jetstream().delete_stream(ORDERS.name).await.unwrap();
    eventually("all is published again", async || {
        let mut stream = world.jetstream().get_stream(ORDERS.name).await.ok()?;
        (stream.info().await.ok()?.state.messages == 25_000).then_some(())
    })
    .await;
    let portions = "select sum(size)::bigint, max(size) from portions";
    let (all, largest): (i64, i64) = sqlx::query_as(portions).fetch_one(&pool).await.unwrap();
    assert_eq!((all, largest), (25_000, 10_000));
    relay.cancel();
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again_where_it_was() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (relay, consumer) = (start_relay(&world, &pool), run(&world, &pool, "a", Recorder));
    write(&pool, 0..100).await;
    wait_for_effects(&pool, "loyalty", 100).await;
    eventually("its position is known", async || {
        let position = "select stream_sequence from consumer_positions where durable = 'loyalty'";
        let position: Option<i64> = sqlx::query_scalar(position).fetch_optional(&pool).await.unwrap();
        (position == Some(100)).then_some(())
    })
    .await;
    world.stop_nats().await;
    world.start_nats().await;
    world.jetstream().delete_consumer_from_stream("loyalty", ORDERS.name).await.unwrap();
    write(&pool, 100..110).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 110).await.len(), 110);
    let stream = world.jetstream().get_stream(ORDERS.name).await.unwrap();
    let config = stream.consumer_info("loyalty").await.unwrap().config;
    assert_eq!(config.deliver_policy, DeliverPolicy::ByStartSequence { start_sequence: 101 });
    consumer.stop().await;
    relay.cancel();
}

#[tokio::test]
async fn dead_letters_survive_a_broker_that_lost_them() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let consumer = run(&world, &pool, "a", Recorder);
    world.publish_event(&order("hopeless-1")).await;
    let buried = async || {
        let letters = world.dead_letters().await;
        (letters.len() == 1).then(|| letters[0].clone())
    };
    let before = eventually("it is buried", buried).await;
    world.jetstream().delete_stream(DLQ.name).await.unwrap();
    let after = eventually("it is there again", buried).await;
    assert_eq!((after.reason, after.body, after.event_id), (before.reason, before.body, before.event_id));
    consumer.stop().await;
}

/// The relay may not read letters by their number, so it must tell a lost one from one that was dealt with.
#[tokio::test]
async fn a_lost_letter_comes_back_though_others_have_its_number_and_a_removed_one_does_not() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let consumer = run(&world, &pool, "a", Recorder);
    let letters = async |count: usize| {
        eventually("so many letters are there", async || {
            let letters =
                world.dead_letters().await.into_iter().filter(|letter| letter.consumer == "loyalty");
            let letters: Vec<_> = letters.collect();
            (letters.len() == count).then_some(letters)
        })
        .await
    };
    for n in 1..=2 {
        world.publish_event(&order(&format!("hopeless-{n}"))).await;
        letters(n).await;
    }
    let last = letters(2).await.pop().unwrap();
    let dlq = world.jetstream().get_stream(DLQ.name).await.unwrap();
    dlq.delete_message(last.number).await.unwrap();
    // Stored after the removal, so that the copy has both.
    world.publish("dlq.payment", "a letter of somebody else").await;
    let kept = letters(1).await.pop().unwrap();
    world.copy_broker_store();
    world.publish_event(&order("hopeless-3")).await;
    let lost = letters(2).await.pop().unwrap();
    consumer.stop().await;
    crash(&world, async || {}).await;
    for _ in 0..3 {
        world.publish("dlq.payment", "letters of somebody else").await;
    }
    let consumer = run(&world, &pool, "a", Recorder);
    let after: Vec<String> = letters(2).await.into_iter().map(|letter| letter.event_id).collect();
    assert_eq!(after, [kept.event_id, lost.event_id]);
    consumer.stop().await;
}

#[tokio::test]
async fn an_outbox_that_lost_nothing_publishes_nothing_again() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let relay = start_relay(&world, &pool);
    write(&pool, 0..100).await;
    wait_until_published(&pool).await;
    relay.cancel();
    let relay = start_relay(&world, &pool);
    world.stop_nats().await;
    world.start_nats().await;
    write(&pool, 100..101).await;
    wait_until_published(&pool).await;
    assert_eq!(published(&pool).await, 101);
    assert_eq!(world.published("orders.>").await.len(), 101);
    relay.cancel();
}
