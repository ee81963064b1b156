use std::collections::HashSet;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use messaging::streams::{SetupError, ensure_stream};
use messaging::{Settings, consumer};
use testing::{SAMPLE, World, eventually};

use crate::recorder::{
    self, OtherRecorder, PuttingBy, Recorder, Running, order, run, runtime_with, wait_for_effects,
};

#[tokio::test]
async fn an_event_delivered_ten_times_has_its_effect_once() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for _ in 0..11 {
        world.publish("orders.created", SAMPLE).await;
    }
    world.publish_event(&order("last-1")).await;
    let running = run(&world, &pool, "a", Recorder);
    assert_eq!(wait_for_effects(&pool, "loyalty", 2).await, ["order-123", "last-1"]);
    running.stop().await;
}

#[tokio::test]
async fn good_events_do_not_wait_behind_bad_ones_and_each_bad_one_is_buried_with_its_reason() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..40 {
        world.publish_event(&order(&format!("good-{n}"))).await;
        match n {
            7 => world.publish_event(&order("failing-1")).await,
            13 => world.publish_event(&order("hopeless-1")).await,
            21 => world.publish_event(&order("panicking-1")).await,
            30 => world.publish_event(&order("hanging-1")).await,
            _ => {}
        }
    }
    let running = run(&world, &pool, "a", Recorder);
    let effects = wait_for_effects(&pool, "loyalty", 40).await;
    assert!(effects.iter().all(|order| order.starts_with("good-")), "{effects:?}");
    let letters = eventually("all four are buried", async || {
        let letters = world.dead_letters().await;
        (letters.len() == 4).then_some(letters)
    })
    .await;
    let find = |reason: &str| letters.iter().find(|letter| letter.reason.contains(reason)).expect(reason);
    assert_eq!(find("gave up after 3 attempts: the oven is cold").attempts, 3);
    assert_eq!(find("nobody drinks this").attempts, 1);
    find("panicked: spilled the milk");
    find("the handler did not end within 300ms");
    running.stop().await;
}

#[tokio::test]
async fn what_is_undone_is_never_taken_for_committed() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let refuses_commits = "create function refuse() returns trigger language plpgsql as
                               $$ begin raise exception 'not this one'; end $$;
                           create constraint trigger refuses after insert on effects deferrable initially deferred
                               for each row when (new.order_id like 'refused%') execute function refuse()";
    sqlx::raw_sql(refuses_commits).execute(&pool).await.unwrap();
    let consumer = PuttingBy::default();
    let running = run(&world, &pool, "a", consumer.clone());
    let again = order("good-1").encode();
    world.publish("orders.created", again.clone()).await;
    let bad = ["failing-1", "hopeless-1", "panicking-1", "hanging-1", "refused-1"];
    for (n, id) in bad.iter().enumerate() {
        world.publish_event(&order(id)).await;
        eventually("it is buried", async || (world.dead_letters().await.len() > n).then_some(())).await;
        // Nothing of this is new, so it is committed without being handled.
        world.publish("orders.created", again.clone()).await;
        world.publish_event(&order(&format!("good-after-{id}"))).await;
        wait_for_effects(&pool, "loyalty", n + 2).await;
    }
    let expected: Vec<String> =
        [String::from("good-1")].into_iter().chain(bad.map(|id| format!("good-after-{id}"))).collect();
    eventually("all that is there is committed", async || {
        (consumer.committed.lock().unwrap().len() >= expected.len()).then_some(())
    })
    .await;
    assert_eq!(*consumer.committed.lock().unwrap(), expected);
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_buried_untouched_and_the_rest_flows() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let good = String::from_utf8(order("good-1").encode()).unwrap();
    world.publish("orders.created", [0xff, 0x00, 0x7b]).await;
    world.publish("orders.created", good.replace(":4.50", ":-4.50")).await;
    world.publish("orders.created.3", good.replace("OrderCreated", "OrderTeleported")).await;
    world.publish("orders.cancelled", &good).await;
    world.publish("orders.created", vec![b' '; 300 * 1024]).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-specversion", "2.0");
    headers.insert("Nats-Expected-Stream", "ORDERS");
    let sent = world.jetstream().publish_with_headers("orders.created", headers, good.clone().into());
    sent.await.unwrap().await.unwrap();
    world.publish("orders.created", &good).await;

    let running = run(&world, &pool, "a", Recorder);
    assert_eq!(wait_for_effects(&pool, "loyalty", 1).await, ["good-1"]);
    let letters = eventually("all six are buried", async || {
        let letters = world.dead_letters().await;
        (letters.len() == 6).then_some(letters)
    })
    .await;
    for (letter, reason) in letters.iter().zip([
        "undecodable",
        "invalid OrderCreated",
        "unknown event type",
        "carries OrderCancelled, but the body says OrderCreated",
        "oversized",
        "unknown version",
    ]) {
        assert!(letter.reason.contains(reason), "{} should say {reason}", letter.reason);
        assert_eq!(letter.consumer, "loyalty");
    }
    assert_eq!(letters[0].body.as_ref(), [0xff, 0x00, 0x7b]);
    assert_eq!(letters[2].subject, "orders.created.3");
    assert_eq!(letters[4].body.len(), 300 * 1024);
    assert_eq!(letters[5].headers.get("ce-specversion").unwrap().as_str(), "2.0");
    running.stop().await;
}

#[tokio::test]
async fn two_instances_share_the_work_and_do_nothing_twice() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let first = run(&world, &pool, "a", Recorder);
    let second = run(&world, &pool, "b", Recorder);
    let handled = async || -> Vec<i64> {
        let handled = "select handled from consumer_instances where handled > 0";
        sqlx::query_scalar(handled).fetch_all(&pool).await.unwrap()
    };
    // One may come late on a busy machine: there is work until both have had some.
    let mut published = 0;
    eventually("both have reported work", async || {
        for _ in 0..40 {
            world.publish_event(&order(&format!("good-{published}"))).await;
            published += 1;
        }
        (handled().await.len() == 2).then_some(())
    })
    .await;
    let effects = wait_for_effects(&pool, "loyalty", published).await;
    assert_eq!(effects.iter().collect::<HashSet<_>>().len(), published);
    eventually("all work is reported", async || {
        (handled().await.iter().sum::<i64>() == published as i64).then_some(())
    })
    .await;
    first.stop().await;
    second.stop().await;
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_batch_is_claimed_while_the_one_before_is_handled_and_handled_after_it() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let orders: Vec<String> = (0..12).map(|n| format!("good-{n}")).collect();
    for id in &orders {
        world.publish_event(&order(id)).await;
    }
    let mut closed = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table effects in share mode").execute(&mut *closed).await.unwrap();
    let settings = Settings { batch: 4, handler_timeout: LONG, ack_wait: LONG, ..recorder::settings() };
    let runtime = runtime_with(world.jetstream().clone(), pool.clone(), "a", settings);
    let running =
        Running { stop: runtime.stop.clone(), task: tokio::spawn(consumer::run(runtime, Recorder)) };

    let count = async |sessions: &'static str| -> i64 {
        sqlx::query_scalar(sessions).fetch_one(&pool).await.unwrap()
    };
    let claiming = "select count(*) from pg_locks
                    where relation = 'inbox'::regclass and mode = 'RowExclusiveLock'";
    let handling = "select count(*) from pg_locks where relation = 'effects'::regclass and not granted";
    eventually("two batches are claimed, and one is handled", async || {
        (count(claiming).await == 2 && count(handling).await > 0).then_some(())
    })
    .await;
    assert_eq!(count(handling).await, 1);
    closed.rollback().await.unwrap();
    assert_eq!(wait_for_effects(&pool, "loyalty", 12).await, orders);
    running.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_costs_no_event_its_attempts() {
    let world = World::with_own_postgres().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    world.publish_event(&order("good-0")).await;
    wait_for_effects(&pool, "loyalty", 1).await;
    world.kill_postgres();
    for n in 1..50 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    // Longer than all attempts of an event would take.
    let start = std::time::Instant::now();
    eventually("the outage has lasted a while", async || (start.elapsed().as_secs() >= 3).then_some(()))
        .await;
    world.start_postgres();
    let effects = eventually("the effects are there", async || {
        let count = sqlx::query_scalar("select order_id from effects").fetch_all(&pool).await;
        let effects: Vec<String> = count.ok()?;
        (effects.len() >= 50).then_some(effects)
    })
    .await;
    assert_eq!(effects.len(), 50);
    assert!(world.dead_letters().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_broker_that_restarts_loses_nobody() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    world.publish_event(&order("good-0")).await;
    wait_for_effects(&pool, "loyalty", 1).await;
    world.stop_nats().await;
    world.start_nats().await;
    world.publish_event(&order("good-1")).await;
    assert_eq!(wait_for_effects(&pool, "loyalty", 2).await, ["good-0", "good-1"]);
    running.stop().await;
}

#[tokio::test]
async fn a_graceful_stop_leaves_nothing_in_hand() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..600 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    let first = run(&world, &pool, "a", Recorder);
    wait_for_effects(&pool, "loyalty", 1).await;
    first.stop().await;
    let second = run(&world, &pool, "b", OtherRecorder);
    let third = run(&world, &pool, "b", Recorder);
    let effects = wait_for_effects(&pool, "loyalty", 600).await;
    assert_eq!(effects.len(), 600);
    let retried: i64 = sqlx::query_scalar("select coalesce(sum(buried), 0)::bigint from consumer_instances")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(retried, 0);
    second.stop().await;
    third.stop().await;
}

#[tokio::test]
async fn an_event_waits_for_a_lock_without_blame_and_the_others_do_not() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let mut somebody = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table mended").execute(&mut *somebody).await.unwrap();
    let orders = ["good-0", "locked-1", "good-2", "locked-3", "good-4"];
    for order_id in orders {
        world.publish_event(&order(order_id)).await;
    }
    let running = run(&world, &pool, "a", Recorder);
    assert_eq!(wait_for_effects(&pool, "loyalty", 3).await, ["good-0", "good-2", "good-4"]);

    eventually("both were tried more often than an event may fail", async || {
        let stream = world.jetstream().get_stream("ORDERS").await.unwrap();
        let deliveries = stream.consumer_info("loyalty").await.unwrap().delivered.consumer_sequence;
        (deliveries > orders.len() as u64 + 2 * 4).then_some(())
    })
    .await;
    somebody.rollback().await.unwrap();
    wait_for_effects(&pool, "loyalty", 5).await;
    running.stop().await;
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_replay_repeats_no_effect() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let running = run(&world, &pool, "a", Recorder);
    for n in 0..5 {
        world.publish_event(&order(&format!("good-{n}"))).await;
    }
    wait_for_effects(&pool, "loyalty", 5).await;
    // What a restored backup looks like: effects and inbox of the last two events are gone.
    sqlx::raw_sql(
        "delete from effects where order_id in ('good-3', 'good-4');
        delete from inbox where event_id not in (select event_id from effects)",
    )
    .execute(&pool)
    .await
    .unwrap();
    use messaging::replay::{From, plan, rewind};
    let spec = &events::topology::LOYALTY;
    let plan = plan(world.jetstream(), spec, From::Sequence(1)).await.unwrap();
    assert_eq!((plan.from_sequence, plan.last_sequence), (1, 5));
    rewind(world.jetstream(), spec, &plan).await.unwrap();
    let effects = wait_for_effects(&pool, "loyalty", 5).await;
    assert_eq!(effects, ["good-0", "good-1", "good-2", "good-3", "good-4"]);
    running.stop().await;
}

#[tokio::test]
async fn a_stream_defined_otherwise_is_refused_and_left_alone() {
    let world = World::start().await;
    let js = world.jetstream();
    js.delete_stream("ORDERS").await.unwrap();
    let foreign =
        Config { name: "ORDERS".into(), subjects: vec!["orders.created".into()], ..Config::default() };
    js.create_stream(foreign).await.unwrap();
    let pool = recorder::database(&world).await;
    let result = run(&world, &pool, "a", Recorder).task.await.unwrap();
    let Err(SetupError::Conflict(message)) = result else { panic!("{result:?}") };
    assert!(message.contains("ORDERS") && message.contains("subjects"), "{message}");
    let is = js.get_stream("ORDERS").await.unwrap().cached_info().config.subjects.clone();
    assert_eq!(is, ["orders.created"]);
    let streams = messaging::Settings::default().streams;
    assert!(ensure_stream(js, &events::topology::DLQ, streams).await.is_ok());
}
