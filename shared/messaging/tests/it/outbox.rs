use std::time::Duration;

use async_nats::jetstream;
use events::topology::ORDERS;
use messaging::relay::Relay;
use messaging::{Outgoing, Settings, TraceContext, append, broker};
use sqlx::PgPool;
use testing::{World, eventually};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::recorder::{self, order, settings};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub fn start_relay(world: &World, pool: &PgPool) -> CancellationToken {
    start_relay_with(world, pool, settings()).0
}

fn start_relay_with(world: &World, pool: &PgPool, settings: Settings) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let relay = Relay { settings, ..recorder::relay(world, pool, stop.clone()) };
    (stop, tokio::spawn(async move { relay.run().await.unwrap() }))
}

pub async fn write(pool: &PgPool, ids: std::ops::Range<usize>) {
    let trace = TraceContext::from_parts(Some(TRACEPARENT), None);
    let rows: Vec<_> = ids.map(|n| Outgoing::event(&order(&format!("order-{n}")), &trace)).collect();
    let mut tx = pool.begin().await.unwrap();
    append(&mut tx, &rows).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn wait_until_published(pool: &PgPool) {
    eventually("the outbox is published", async || {
        let waiting = "select count(*) from outbox_waiting";
        let count = sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await;
        (count.unwrap() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn committed_rows_are_published_once_in_order_with_their_headers() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (first, second) = (start_relay(&world, &pool), start_relay(&world, &pool));
    write(&pool, 0..2_500).await;
    wait_until_published(&pool).await;
    let bodies = world.published("orders.created.*").await;
    let ids: Vec<_> =
        bodies.iter().map(|body| body["data"]["orderId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..2_500).map(|n| format!("order-{n}")).collect::<Vec<_>>());

    let stream = world.jetstream().get_stream(ORDERS.name).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("traceparent").as_deref(), Some(TRACEPARENT));
    assert_eq!(header("ce-specversion").as_deref(), Some("1.0"));
    assert_eq!(header("ce-type").as_deref(), Some("OrderCreated"));
    assert_eq!(header("ce-source").as_deref(), Some("/order-api"));
    assert_eq!(header("ce-id"), header("Nats-Msg-Id"));
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap();
    let apart = time(&header("ce-time").unwrap()) - time(bodies[0]["timestamp"].as_str().unwrap());
    assert_eq!(apart.whole_microseconds(), 0, "it is when the event happened, not when its row was written");
    let sequence: i64 = sqlx::query_scalar("select sequence from outbox_stored order by id limit 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(sequence, 1);
    first.cancel();
    second.cancel();
}

/// What was published is marked with the next claim. The last one has none after it.
#[tokio::test]
async fn a_relay_that_stops_leaves_nothing_unmarked() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    for n in 0..10 {
        let (stop, relay) = start_relay_with(&world, &pool, settings());
        write(&pool, n..n + 1).await;
        eventually("it is published", async || {
            (world.published("orders.created.*").await.len() > n).then_some(())
        })
        .await;
        stop.cancel();
        relay.await.unwrap();
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from outbox_waiting").fetch_one(&pool).await.unwrap();
        assert_eq!(waiting, 0, "after {n}");
    }
    assert_eq!(world.published("orders.created.*").await.len(), 10);
}

#[tokio::test]
async fn a_rolled_back_change_says_nothing() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let stop = start_relay(&world, &pool);
    let mut tx = pool.begin().await.unwrap();
    let trace = TraceContext::from_parts(None, None);
    append(&mut tx, &[Outgoing::event(&order("undone"), &trace)]).await.unwrap();
    tx.rollback().await.unwrap();
    write(&pool, 1..2).await;
    wait_until_published(&pool).await;
    assert_eq!(world.published("orders.>").await.len(), 1);
    stop.cancel();
}

/// The relay does not walk over all rows each time. One that is committed long after its successors is found all the same.
#[tokio::test]
async fn a_row_that_is_committed_late_is_published() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let stop = start_relay(&world, &pool);
    let trace = TraceContext::from_parts(None, None);
    let mut late = pool.begin().await.unwrap();
    append(&mut late, &[Outgoing::event(&order("late"), &trace)]).await.unwrap();
    // Longer than from one look back to the next but one.
    for n in 0..60 {
        write(&pool, n..n + 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait_until_published(&pool).await;
    late.commit().await.unwrap();
    wait_until_published(&pool).await;
    assert_eq!(world.published("orders.created.*").await.len(), 61);
    stop.cancel();
}

#[tokio::test]
async fn rows_written_while_the_broker_is_away_are_published_when_it_is_back() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let stop = start_relay(&world, &pool);
    write(&pool, 0..10).await;
    wait_until_published(&pool).await;
    world.stop_nats().await;
    write(&pool, 10..500).await;
    world.start_nats().await;
    wait_until_published(&pool).await;
    assert_eq!(world.published("orders.created.*").await.len(), 500);
    stop.cancel();
}

/// Passes on what is said to the broker, until it is aborted.
async fn forwarded(broker: &str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (rest, port) = broker.rsplit_once(':').unwrap();
    let there: (&str, u16) = ("127.0.0.1", port.parse().unwrap());
    let url = format!("{rest}:{}", listener.local_addr().unwrap().port());
    let forwarding = async move {
        let (mut here, _) = listener.accept().await.unwrap();
        let mut there = TcpStream::connect(there).await.unwrap();
        let _ = copy_bidirectional(&mut here, &mut there).await;
    };
    (url, tokio::spawn(forwarding))
}

#[tokio::test]
async fn a_relay_that_loses_its_broker_leaves_the_lead_to_another() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let (url, forwarding) = forwarded(&world.nats_url()).await;
    let (options, addresses) = broker::parse(&url).unwrap();
    let jetstream = jetstream::new(options.connect(addresses).await.unwrap());
    let stop = CancellationToken::new();
    let leader = recorder::relay_with(jetstream, &pool, stop.clone());
    tokio::spawn(async move { leader.run().await.unwrap() });
    write(&pool, 0..1).await;
    wait_until_published(&pool).await;

    let successor = start_relay(&world, &pool);
    forwarding.abort();
    write(&pool, 1..2).await;
    wait_until_published(&pool).await;
    stop.cancel();
    successor.cancel();
}

#[tokio::test]
async fn a_full_stream_pushes_back_into_the_outbox_and_loses_nothing() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let mut tiny = settings();
    tiny.streams.max_bytes = Some(20_000);
    let (stop, task) = start_relay_with(&world, &pool, tiny);
    write(&pool, 0..200).await;
    let stored = eventually("the stream is full", async || {
        let stored = world.published("orders.>").await.len();
        (stored > 10).then_some(stored)
    })
    .await;
    assert!(stored < 200);
    stop.cancel();
    task.await.unwrap();
    let stop = start_relay(&world, &pool);
    wait_until_published(&pool).await;
    assert_eq!(world.published("orders.created.*").await.len(), 200);
    stop.cancel();
}

#[tokio::test]
async fn dead_letters_that_the_broker_refuses_hold_up_nobody() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let mut tiny = settings();
    tiny.streams.max_bytes = Some(20_000);
    // More than a claim takes, and before everything else.
    let letters = "with said as (
            insert into outbox (event_id, event_type, order_id, subject, occurred_at, headers, body, created_at)
            select 'letter-' || n, 'DeadLetter', '', 'dlq.loyalty', now(), '[]', 'x', now() from generate_series(1, 1500) as n
            returning id, created_at
        )
        insert into outbox_waiting (id, created_at, is_letter) select id, created_at, true from said";
    sqlx::query(letters).execute(&pool).await.unwrap();
    let (stop, task) = start_relay_with(&world, &pool, tiny);
    for n in 0..10 {
        write(&pool, n..n + 1).await;
        eventually("the event is published", async || {
            (world.published("orders.created.*").await.len() > n).then_some(())
        })
        .await;
    }
    let waiting = "select count(*) from outbox_waiting where is_letter";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
    assert!((1..1_500).contains(&waiting), "{waiting} letters wait");
    stop.cancel();
    task.await.unwrap();
    let stop = start_relay(&world, &pool);
    wait_until_published(&pool).await;
    stop.cancel();
}

/// Makes today's partition look like one of years ago.
async fn age(pool: &PgPool) {
    for table in ["outbox", "outbox_stored"] {
        let today = "to_char(now() at time zone 'UTC', 'YYYYMMDD')";
        let rename = format!(
            "do $$ begin execute format('alter table %I rename to {table}_20200101', '{table}_' || {today}); end $$"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(rename)).execute(pool).await.unwrap();
    }
}

#[tokio::test]
async fn old_days_are_dropped_but_not_while_something_in_them_waits() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    let count =
        async || sqlx::query_scalar::<_, i64>("select count(*) from outbox").fetch_one(&pool).await.unwrap();
    let drop_days = async || {
        let dropped = "select outbox_drop_days('3 days')";
        sqlx::query_scalar::<_, i32>(dropped).fetch_one(&pool).await.unwrap()
    };
    write(&pool, 0..10).await;
    age(&pool).await;
    assert_eq!((drop_days().await, count().await), (0, 10));
    let stop = start_relay(&world, &pool);
    wait_until_published(&pool).await;
    stop.cancel();
    assert_eq!((drop_days().await, count().await), (1, 0));
    messaging::retention::make_days(&pool).await.unwrap();
    write(&pool, 10..20).await;
    assert_eq!((drop_days().await, count().await), (0, 10));
}

#[tokio::test]
async fn a_day_is_not_dropped_while_a_refill_is_putting_it_back() {
    let world = World::start().await;
    let pool = recorder::database(&world).await;
    write(&pool, 0..10).await;
    let stop = start_relay(&world, &pool);
    wait_until_published(&pool).await;
    stop.cancel();
    age(&pool).await;
    let count = async |rows: &str| {
        let count = format!("select count(*) from {rows}");
        sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count)).fetch_one(&pool).await.unwrap()
    };

    let mut refill = pool.begin().await.unwrap();
    let put_back = "with lost as (delete from outbox_stored returning id, created_at)
                    insert into outbox_waiting (id, created_at) select id, created_at from lost";
    sqlx::query(put_back).execute(&mut *refill).await.unwrap();
    let dropping = sqlx::query_scalar::<_, i32>("select outbox_drop_days('3 days')").fetch_one(&pool);
    let committing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        refill.commit().await.unwrap();
    };
    let (dropped, ()) = tokio::join!(dropping, committing);

    let refused = dropped.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("55P03"));
    let lost = "outbox_waiting where id not in (select id from outbox)";
    assert_eq!((count("outbox_waiting").await, count(lost).await), (10, 0));
}
