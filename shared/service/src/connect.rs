//! Connections to Postgres and NATS. Postgres is waited for, because nothing works without it; NATS connects
//! in the background and for ever, because an order must be taken while it is away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::{Event, jetstream};
use messaging::broker::{self, Refusals};
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// No statement and no forgotten transaction may hold its locks for longer.
const STATEMENT_LIMIT: &str = "15s";
/// Who waits for a lock gives up as if the database were away, before the runtime stops its handler (4 s) and suspects the
/// event. More than a writer of orders waits, which then knows that it cannot say.
const LOCK_LIMIT: &str = "3500ms";
/// Seconds of silence after which Postgres asks whether we are there: what lies between forgets a silent connection after
/// some minutes.
const KEEPALIVE: &str = "60";
const JUST_USED: Duration = Duration::from_secs(1);
/// A connection that comes back from use answers within this time, or is closed.
const STILL_THERE: Duration = Duration::from_secs(2);
/// For a request to the broker. An answer that is lost with its connection would hold up a consumer until then.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A service without a client may still take orders. A message that ends each new one should not keep it from that.
const SHORTEST_LIFE: Duration = Duration::from_secs(12);

pub async fn postgres(
    url: &SecretString,
    connections: u32,
    name: &str,
    stop: &CancellationToken,
) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url
        .expose_secret()
        .parse()
        .context("DATABASE_URL is not of the form postgres://role:password@host:port/database")?;
    let options = options
        .application_name(name)
        .options([
            ("statement_timeout", STATEMENT_LIMIT),
            ("idle_in_transaction_session_timeout", STATEMENT_LIMIT),
            ("lock_timeout", LOCK_LIMIT),
            ("tcp_keepalives_idle", KEEPALIVE),
            // One plan for each statement, by index whatever the statistics say (docs/adr/0016-one-plan-for-each-statement.md).
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            // Discouraged ways count as dear, and Postgres compiles what is dear.
            ("jit", "off"),
        ])
        .log_statements(tracing::log::LevelFilter::Trace);
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(3))
        // One that was just used is still there.
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move { Ok(known.idle_for < JUST_USED || connection.ping().await.is_ok()) })
        })
        // The pool itself would wait for ever for a connection whose other end has vanished, and keep its place.
        .after_release(|connection, _| {
            Box::pin(async { Ok(timeout(STILL_THERE, is_at_rest(connection)).await.unwrap_or(false)) })
        })
        .connect_lazy_with(options.clone());
    for attempt in 1_u32.. {
        match pool.acquire().await {
            Ok(_) => break,
            Err(error) => {
                let (host, port) = (options.get_host(), options.get_port());
                tracing::warn!(attempt, %error, host, port, "Postgres does not answer yet");
            }
        }
        tokio::select! {
            () = stop.cancelled() => anyhow::bail!("stopped while waiting for Postgres"),
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
    }
    warn_if_forgetful(&pool).await?;
    Ok(pool)
}

/// Whether the connection answers and is in no transaction. It may be in one that nobody knows of: a `begin` that was given
/// up before its answer came is not undone by the library, and whoever was given the connection next would write into a
/// transaction that is never committed.
///
/// Outside of one, a statement is a transaction of its own and begins with it. (As a simple query; in the extended
/// protocol a statement has several beginnings.)
async fn is_at_rest(connection: &mut PgConnection) -> bool {
    let began_together = sqlx::raw_sql("select transaction_timestamp() = statement_timestamp()");
    let row = began_together.fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).unwrap_or(false)
}

/// An order is answered when Postgres says that it is on disk. It can be told to say so too early.
async fn warn_if_forgetful(pool: &PgPool) -> anyhow::Result<()> {
    let off: Vec<String> = sqlx::query_scalar(
        "select name from pg_settings
         where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'",
    )
    .fetch_all(pool)
    .await
    .context("cannot read the settings of Postgres")?;
    for setting in off {
        tracing::warn!(
            setting,
            "Postgres runs with this setting off: a crash may lose what was confirmed; fine for tests only"
        );
    }
    Ok(())
}

pub async fn migrate(pool: &PgPool, migrations: &Migrator) -> anyhow::Result<()> {
    let mut db = pool.acquire().await.context("cannot connect to Postgres")?.detach();
    // Whoever comes second waits for the lock until the first is done.
    sqlx::raw_sql("set lock_timeout = 0").execute(&mut db).await?;
    messaging::migrations().run(&mut db).await.context("cannot create the messaging tables")?;
    messaging::retention::make_days(&mut db).await.context("cannot make the partitions of the outbox")?;
    migrations.run(&mut db).await.context("cannot bring the database schema up to date")?;
    let _ = db.close().await;
    Ok(())
}

pub async fn nats(
    url: &SecretString,
    authority: Option<&Path>,
    name: &str,
) -> anyhow::Result<jetstream::Context> {
    let (options, servers) =
        broker::parse(url.expose_secret()).map_err(|error| anyhow::anyhow!("NATS_URL is {error}"))?;
    if let Some(authority) = authority {
        std::fs::metadata(authority)
            .with_context(|| format!("NATS_CA={} cannot be read", authority.display()))?;
    }
    let refusals = Arc::new(Refusals::default());
    let client = broker::trusting(options, authority)
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| Duration::from_millis(50 * attempts.clamp(1, 20) as u64))
        .ping_interval(Duration::from_secs(5))
        .event_callback(move |event| {
            let refusals = Arc::clone(&refusals);
            async move { tell(&event, &refusals) }
        })
        .connect(servers)
        .await
        .context("cannot start connecting to NATS_URL")?;
    let mut jetstream = jetstream::new(client);
    jetstream.set_timeout(ANSWER_LIMIT);
    Ok(jetstream)
}

/// Returns when the client has given up, which it never should: a message whose headers it cannot bear (a carriage return
/// inside of a value) ends its task by a panic, and whoever asks it for something waits for ever.
pub async fn watch_nats(client: async_nats::Client, stop: CancellationToken) -> anyhow::Result<()> {
    let began = Instant::now();
    while stop.run_until_cancelled(sleep(BETWEEN_LOOKS)).await.is_some() {
        // Without an answer the broker is away, and the client waits for it.
        let look = timeout(ANSWER_LIMIT, client.flush());
        if let Some(Ok(Err(error))) = stop.run_until_cancelled(look).await {
            stop.run_until_cancelled(sleep_until(began + SHORTEST_LIFE)).await;
            return Err(error)
                .context("the client of the broker has stopped; only a new process has a new one");
        }
    }
    Ok(())
}

fn tell(event: &Event, refusals: &Refusals) {
    let Event::ServerError(error) = event else { return tracing::info!(%event, "nats") };
    match broker::refused(error) {
        None => tracing::warn!(%event, "nats"),
        Some(denied) if refusals.is_news(&denied) => tracing::error!(
            denied,
            "the broker refuses this to our user: it does only what shared/events/src/topology.rs says of the \
             service. Correct that, write docker/nats/users.conf anew (docs/containers.md) and restart the broker"
        ),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;
    use messaging::{Failure, Settings};
    use testing::{Postgres, World};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_begin_that_was_given_up_leaves_no_transaction_to_the_next() {
        let url = SecretString::from(Postgres::shared().create("given_up").await);
        let stop = CancellationToken::new();
        let pool = postgres(&url, 1, "first", &stop).await.unwrap();
        sqlx::raw_sql("create table words (word text)").execute(&pool).await.unwrap();
        // Now and then Postgres is so quick that its answer is there at the first look.
        while pool.acquire().await.unwrap().begin().now_or_never().is_some() {}

        sqlx::query("insert into words values ('kept')").execute(&pool).await.unwrap();
        let other = postgres(&url, 1, "second", &stop).await.unwrap();
        let kept: i64 = sqlx::query_scalar("select count(*) from words").fetch_one(&other).await.unwrap();
        assert_eq!(kept, 1);
    }

    #[tokio::test]
    async fn waiting_for_a_lock_is_no_events_fault() {
        let url = SecretString::from(Postgres::shared().create("locked").await);
        let pool = postgres(&url, 2, "waits for a lock", &CancellationToken::new()).await.unwrap();
        sqlx::raw_sql("create table words (word text)").execute(&pool).await.unwrap();
        let mut holder = pool.begin().await.unwrap();
        sqlx::raw_sql("lock table words").execute(&mut *holder).await.unwrap();

        let since = Instant::now();
        let late = sqlx::query("insert into words values ('late')").execute(&pool).await;
        let waited = since.elapsed();
        assert!(matches!(Failure::from(late.unwrap_err()), Failure::Unavailable(_)));
        assert!(waited < Settings::default().handler_timeout, "a handler is stopped before: {waited:?}");
    }

    #[tokio::test]
    async fn a_client_that_a_message_has_ended_is_noticed() {
        let world = World::start().await;
        let url = SecretString::from(world.nats_url());
        let client = nats(&url, None, "victim").await.unwrap().client();
        let _subscription = client.subscribe("poison").await.unwrap();
        client.flush().await.unwrap();
        let watch = tokio::spawn(watch_nats(client, CancellationToken::new()));
        sleep(2 * BETWEEN_LOOKS).await;
        assert!(!watch.is_finished(), "nothing has happened yet");

        publish_raw(&url, "poison", "NATS/1.0\r\nName: a\rvalue\r\n\r\n").await;
        let ended = timeout(SHORTEST_LIFE + ANSWER_LIMIT, watch).await.expect("the watch ends").unwrap();
        assert!(ended.unwrap_err().to_string().contains("client of the broker"));
    }

    /// Headers that no client library would send.
    async fn publish_raw(url: &SecretString, subject: &str, headers: &str) {
        let url: async_nats::ServerAddr = url.expose_secret().parse().unwrap();
        let mut broker = TcpStream::connect((url.host(), url.port())).await.unwrap();
        let (user, password, length) = (url.username().unwrap(), url.password().unwrap(), headers.len());
        let hello = format!(r#"{{"verbose":false,"headers":true,"user":"{user}","pass":"{password}"}}"#);
        let publish = format!("CONNECT {hello}\r\nHPUB {subject} {length} {length}\r\n{headers}\r\nPING\r\n");
        broker.write_all(publish.as_bytes()).await.unwrap();
        broker.shutdown().await.unwrap();
    }
}
