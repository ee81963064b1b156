use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use events::StockReserved;
use serde_json::Value;
use testing::{World, eventually, within};

use crate::shop::{Shop, captured, latte, problem};

#[tokio::test]
async fn orders_are_taken_while_the_broker_is_away_and_flow_when_it_is_back() {
    let shop = Shop::open().await;
    shop.world.stop_nats().await;
    for n in 0..20 {
        shop.place(&latte(&format!("c-{n}"))).await;
    }
    assert_eq!(shop.get("/health/ready").await.status(), 200);
    shop.world.start_nats().await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.world.published("orders.created.*").await.len(), 20);
}

#[tokio::test]
async fn the_counter_opens_while_the_broker_is_away() {
    let world = World::start().await;
    world.stop_nats().await;
    let shop = Shop::inside(world, &[]).await;
    let id = shop.place(&latte("c")).await;
    shop.world.start_nats().await;
    shop.say(captured(&id)).await;
    shop.say(StockReserved { order_id: id.clone() }).await;
    shop.status_becomes(&id, "confirmed").await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.world.published("orders.created.*").await.len(), 1);
}

#[tokio::test]
async fn without_its_database_an_order_is_refused_quickly_and_taken_again_afterwards() {
    let shop = Shop::inside(World::with_own_postgres().await, &[]).await;
    shop.place(&latte("c-0")).await;
    shop.world.kill_postgres();
    for _ in 0..3 {
        let start = Instant::now();
        let answer = shop.post_with_key("k-1", &latte("c-1")).await;
        assert!(start.elapsed() < Duration::from_secs(4), "refused after {:?}", start.elapsed());
        assert!(answer.headers().contains_key("retry-after"));
        problem(answer, 503).await;
    }
    shop.world.start_postgres();
    let taken: Value = within(Duration::from_secs(10), "orders are taken again", async || {
        let answer = shop.post_with_key("k-1", &latte("c-1")).await;
        if answer.status() == 201 { answer.json().await.ok() } else { None }
    })
    .await;
    assert_eq!(taken["status"], "received");
    assert_eq!(shop.count("select count(*) from orders where customer_id = 'c-1'").await, 1);
    shop.world.settle(&shop.api).await;
}

#[tokio::test]
async fn a_lost_connection_loses_and_doubles_no_order() {
    let shop = Shop::open().await;
    let (url, closing) = (shop.url("/orders"), Arc::new(AtomicBool::new(false)));
    let placing = (0..8).map(|customer| {
        let (client, url, closing) = (shop.http.clone(), url.clone(), Arc::clone(&closing));
        tokio::spawn(async move {
            let mut placed = 0;
            while !closing.load(Ordering::Relaxed) {
                let (order, key) = (latte(&format!("c-{customer}")), format!("c-{customer}-{placed}"));
                let start = Instant::now();
                // Cut twice in a row, the outcome is unknown to the shop as well: the key makes a retry safe.
                loop {
                    let request = client.post(&url).json(&order).header("Idempotency-Key", &key);
                    let status = request.send().await.unwrap().status().as_u16();
                    if status == 201 {
                        break;
                    }
                    assert!(
                        matches!(status, 409 | 503) && start.elapsed() < Duration::from_secs(20),
                        "{status}"
                    );
                }
                placed += 1;
            }
            placed
        })
    });
    let placing: Vec<_> = placing.collect();
    // Waits until they are gone: what is stored after it came over new connections, which are there to be cut.
    let cut = "select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity
               where application_name = 'order-api' and datname = current_database()";
    for _ in 0..5 {
        let now = shop.orders().await;
        eventually("orders go on", async || (shop.orders().await > now).then_some(())).await;
        assert!(shop.count(cut).await > 0, "connections are cut");
    }
    closing.store(true, Ordering::Relaxed);
    let mut placed = 0;
    for task in placing {
        placed += task.await.unwrap();
    }
    assert_eq!(shop.orders().await, placed);
    assert_eq!(shop.count("select count(distinct order_id) from outbox").await, placed);
    assert_eq!(shop.count("select count(*) from outbox").await, placed);
}

#[tokio::test]
async fn after_an_unknown_outcome_the_same_key_gives_one_order() {
    let shop = Shop::open().await;
    let mut lock = shop.api.pool().begin().await.unwrap();
    sqlx::query("lock table orders in access exclusive mode").execute(&mut *lock).await.unwrap();
    let start = Instant::now();
    let answer = shop.post_with_key("k", &latte("c")).await;
    assert!(start.elapsed() < Duration::from_secs(5), "refused after {:?}", start.elapsed());
    let problem = problem(answer, 503).await;
    assert!(problem["detail"].as_str().unwrap().contains("Idempotency-Key"), "{problem}");
    // The database may still store it, now that it can.
    lock.rollback().await.unwrap();
    within(Duration::from_secs(10), "the order is taken", async || {
        (shop.post_with_key("k", &latte("c")).await.status() == 201).then_some(())
    })
    .await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.orders().await, 1);
    assert_eq!(shop.world.published("orders.created.*").await.len(), 1);
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lock_does_not_hold_up_other_orders() {
    let shop = Shop::open().await;
    let mut lock = shop.api.pool().begin().await.unwrap();
    let key =
        "insert into idempotency_keys (key, request_hash, order_id) values ('k', '', 'order-elsewhere')";
    sqlx::query(key).execute(&mut *lock).await.unwrap();
    let held_up = tokio::spawn({
        let request = shop.http.post(shop.url("/orders")).header("Idempotency-Key", "k").json(&latte("c"));
        async move { request.send().await.unwrap() }
    });
    eventually("its statement waits for the lock", async || {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        (shop.count(waiting).await == 1).then_some(())
    })
    .await;
    let start = Instant::now();
    for _ in 0..20 {
        shop.place(&latte("c")).await;
    }
    assert!(start.elapsed() < Duration::from_secs(1), "twenty orders took {:?}", start.elapsed());
    assert!(!held_up.is_finished());
    lock.rollback().await.unwrap();
    assert_eq!(held_up.await.unwrap().status(), 201);
    assert_eq!(shop.orders().await, 21);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let shop = Shop::with(&[("ORDER_QUEUE", "1"), ("ORDER_WRITERS", "1")]).await;
    let answers = futures::future::join_all((0..300).map(|_| async { shop.post(&latte("c")).await })).await;
    let mut taken = 0;
    for answer in answers {
        if answer.status() == 201 {
            taken += 1;
        } else {
            assert_eq!(answer.headers()["retry-after"], "1");
            problem(answer, 503).await;
        }
    }
    assert!(taken > 0);
    assert_eq!(shop.orders().await, taken);
}

#[tokio::test]
async fn too_long_a_backlog_refuses_orders_until_it_is_published() {
    let shop = Shop::with(&[("MAX_BACKLOG", "10")]).await;
    let before = shop.post_with_key("k", &latte("early")).await.text().await.unwrap();
    shop.world.stop_nats().await;
    let refused = eventually("orders are refused", async || {
        let answer = shop.post(&latte("c")).await;
        (answer.status() != 201).then_some(answer)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    assert!(shop.orders().await > 10);
    // What was answered is answered again: nobody is told that it was not stored.
    let again = shop.post_with_key("k", &latte("early")).await;
    assert_eq!((again.status().as_u16(), again.text().await.unwrap()), (201, before));
    problem(shop.post_with_key("k", &latte("other")).await, 422).await;
    problem(shop.post_with_key("k-2", &latte("late")).await, 503).await;
    shop.world.start_nats().await;
    eventually("orders are taken again", async || {
        (shop.post(&latte("c")).await.status() == 201).then_some(())
    })
    .await;
}

/// Back-pressure all the way: the stream refuses, the outbox grows, the counter refuses; with space again
/// everything flows by itself.
async fn a_full_stream_reaches_the_counter(limit: (&str, &str)) {
    let shop = Shop::with(&[("STREAM_MAX_BYTES", "20000"), limit]).await;
    let refused = within(Duration::from_secs(60), "orders are refused", async || {
        let answer = shop.post(&latte("c")).await;
        (answer.status() != 201).then_some(answer)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503).await;
    let js = shop.world.jetstream();
    let mut config = js.get_stream("ORDERS").await.unwrap().cached_info().config.clone();
    let stored = shop.world.published("orders.created.*").await.len() as i64;
    assert!(stored > 0 && stored < shop.orders().await);
    config.max_bytes = 100_000_000;
    js.update_stream(config).await.unwrap();
    eventually("orders are taken again", async || {
        (shop.post(&latte("c")).await.status() == 201).then_some(())
    })
    .await;
    shop.world.settle(&shop.api).await;
    assert_eq!(shop.world.published("orders.created.*").await.len() as i64, shop.orders().await);
}

#[tokio::test]
async fn a_full_stream_pushes_back_to_the_counter_by_the_number_of_waiting_events() {
    a_full_stream_reaches_the_counter(("MAX_BACKLOG", "10")).await;
}

#[tokio::test]
async fn a_full_stream_pushes_back_to_the_counter_by_the_age_of_waiting_events() {
    a_full_stream_reaches_the_counter(("MAX_BACKLOG_SECONDS", "1")).await;
}

/// Postgres may know nothing of a backlog that has just come to be.
#[tokio::test]
async fn a_long_backlog_is_counted_without_reading_all_of_it() {
    let shop = Shop::open().await;
    let run = async |sql| sqlx::query(sql).execute(shop.api.pool()).await.unwrap();
    run("alter table orders set (autovacuum_enabled = false)").await;
    run("insert into orders (order_id, customer_id, items, total_cents, traceparent, deadline_at)
         select 'ord-' || n, 'c', '[]', 0, '', now() + interval '1 hour' from generate_series(1, 100000) as n")
    .await;
    let counted = async || shop.metric("orders_unsettled ").await.as_deref() == Some("10000");
    eventually("as many as are counted", async || counted().await.then_some(())).await;
    let rows = shop.orders_read(10_000).await;
    assert!(rows < 50_000, "{rows} rows read");
}
