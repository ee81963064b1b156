use async_nats::HeaderMap;
use messaging::dead_letter;
use testing::{World, eventually};

use crate::outbox::wait_until_published;
use crate::recorder::{self, OtherRecorder, Recorder, effects, order, run, wait_for_effects};

#[tokio::test]
async fn a_redriven_event_is_processed_once_by_the_consumer_that_buried_it_and_by_nobody_else() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    world.publish_event(&order("mended-1")).await;
    let letter = eventually("it is buried", async || world.dead_letters().await.pop()).await;
    assert_eq!((letter.consumer.as_str(), letter.reason.as_str()), ("loyalty", "not yet mended"));

    // Redriven too early it is buried again, as a dead letter of its own.
    dead_letter::redrive(world.jetstream(), &letter).await.unwrap();
    let again = eventually("it is buried again", async || {
        world.dead_letters().await.pop().filter(|again| again.number != letter.number)
    })
    .await;
    assert_eq!(again.event_id, letter.event_id);

    sqlx::query("insert into mended values (now())").execute(&pool).await.unwrap();
    let other = run(&world, &pool, "a", OtherRecorder);
    wait_for_effects(&pool, "payment", 1).await;
    // A redrive that is interrupted before the letter is removed is simply done again.
    dead_letter::redrive(world.jetstream(), &again).await.unwrap();
    let _ = dead_letter::redrive(world.jetstream(), &again).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 1).await, ["mended-1"]);
    world.publish_event(&order("last-1")).await;
    wait_for_effects(&pool, "loyalty", 2).await;
    wait_for_effects(&pool, "payment", 2).await;
    assert_eq!(effects(&pool, "loyalty").await, ["mended-1", "last-1"]);
    assert_eq!(effects(&pool, "payment").await, ["mended-1", "last-1"]);
    assert!(world.dead_letters().await.is_empty());
    running.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_event_whose_type_contradicts_its_subject_is_not_done_by_a_redrive_either() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    let mut headers = HeaderMap::new();
    headers.insert("Redriven-From", "orders.redrive.loyalty.0");
    let body = order("odd-1").encode().into();
    let sent = world.jetstream().publish_with_headers("orders.cancelled", headers, body).await;
    sent.unwrap().await.unwrap();
    let mut letter = eventually("it is buried", async || world.dead_letters().await.pop()).await;
    for _ in 0..2 {
        assert!(letter.reason.contains("the subject orders.cancelled carries"), "{}", letter.reason);
        dead_letter::redrive(world.jetstream(), &letter).await.unwrap();
        letter = eventually("it is buried again", async || {
            world.dead_letters().await.pop().filter(|again| again.number != letter.number)
        })
        .await;
    }
    assert!(effects(&pool, "loyalty").await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_discarded_dead_letter_leaves_a_note() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    world.publish("orders.created", "not an event").await;
    let letter = eventually("it is buried", async || world.dead_letters().await.pop()).await;
    dead_letter::discard(world.jetstream(), &letter, "a test message").await.unwrap();
    let left = dead_letter::list(world.jetstream()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].discarded && left[0].reason.starts_with("discarded: a test message (was: undecodable"));
    assert_eq!(left[0].stream_sequence, letter.stream_sequence);
    assert!(dead_letter::get(world.jetstream(), letter.number).await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn an_unreadable_message_is_buried_whatever_its_id() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    // More than an index of Postgres takes.
    let id: String = (0..1_000).filter_map(|n| char::from_u32(0x4e00 + n * 7_919 % 20_000)).collect();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id.as_str());
    let sent = world.jetstream().publish_with_headers("orders.created", headers, "not an event".into()).await;
    let sequence = sent.unwrap().await.unwrap().sequence;
    let letter = eventually("it is buried", async || world.dead_letters().await.pop()).await;
    assert_eq!(letter.event_id, format!("ORDERS:{sequence}"));
    assert_eq!(letter.headers.get("Original-Nats-Msg-Id").unwrap().as_str(), id);
    running.stop().await;
}

/// What a crash between storing a letter and ending its original looks like: the original comes again.
#[tokio::test]
async fn a_burial_that_is_repeated_leaves_one_letter() {
    use messaging::replay::{From, plan, rewind};
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    world.publish_event(&order("hopeless-1")).await;
    world.publish("orders.created", "not an event").await;
    eventually("both are buried", async || (world.dead_letters().await.len() == 2).then_some(())).await;

    let spec = &events::topology::LOYALTY;
    rewind(world.jetstream(), spec, &plan(world.jetstream(), spec, From::Sequence(1)).await.unwrap())
        .await
        .unwrap();
    world.publish_event(&order("last-1")).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 1).await, ["last-1"]);
    let settled = async || {
        let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
        let info = stream.consumer_info("loyalty").await.unwrap();
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    };
    eventually("all is done", settled).await;
    wait_until_published(&pool).await;
    assert_eq!(world.dead_letters().await.len(), 2);
    running.stop().await;
}
