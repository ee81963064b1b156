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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// No statement and no forgotten transaction may hold its locks for longer.
const STATEMENT_LIMIT: &str = "15s";
const JUST_USED: Duration = Duration::from_secs(1);
/// A connection that comes back from use answers within this time, or is closed.
const STILL_THERE: Duration = Duration::from_secs(2);
/// For a request to the broker. An answer that is lost with its connection would hold up a consumer until then.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

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
    messaging::migrations().run(pool).await.context("cannot create the messaging tables")?;
    messaging::retention::make_days(pool).await.context("cannot make the partitions of the outbox")?;
    migrations.run(pool).await.context("cannot bring the database schema up to date")
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
    use sqlx::Connection;
    use testing::Postgres;

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
}
