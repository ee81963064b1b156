//! The order counter: takes orders over HTTP, follows what becomes of them, confirms or cancels them.

mod backlog;
mod domain;
mod email;
mod figures;
mod handlers;
mod idempotency;
mod menu;
mod placement;
mod request;
mod routes;
mod store;
mod sweeper;
mod view;
mod watch;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use service::Service;

use crate::backlog::Backlog;
use crate::handlers::Outcomes;
use crate::idempotency::Running;
use crate::routes::Placing;
use crate::sweeper::Sweeper;
use crate::watch::Watch;

#[derive(Parser)]
#[command(version, about = "The order counter of the coffee shop")]
struct Config {
    #[command(flatten)]
    service: service::Config,

    #[command(flatten)]
    staff: service::StaffToken,

    /// An order that is neither confirmed nor cancelled after this time is cancelled.
    #[arg(long, env, default_value_t = 900, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    order_settle_seconds: u64,

    /// Orders are refused while more events than this wait to be published. 0 means no limit.
    #[arg(long, env, default_value_t = 200_000)]
    max_backlog: i64,

    /// Orders are refused while an event has waited longer than this to be published. 0 means no limit.
    #[arg(long, env, default_value_t = 0)]
    max_backlog_seconds: u64,

    /// Tasks that store orders, each with a database connection of its own.
    #[arg(long, env, default_value_t = 3)]
    order_writers: usize,

    /// Orders that may wait to be stored; more are refused.
    #[arg(long, env, default_value_t = 4_096)]
    order_queue: usize,

    /// Open GET /orders/{id}/events, at most.
    #[arg(long, env, default_value_t = 2_000)]
    max_event_streams: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let (writers, connections) = (config.order_writers, config.service.database_connections);
    anyhow::ensure!(
        writers + 4 <= connections as usize,
        "ORDER_WRITERS ({writers}) have a connection each, and the relay, two batches of events and all others need \
         four more than that: raise DATABASE_CONNECTIONS ({connections})"
    );
    let mut service = Service::start("order-api", config.service, sqlx::migrate!()).await?;
    let (pool, stop) = (service.pool.clone(), service.stop.clone());
    let outbox_written = Arc::clone(&service.outbox_written);
    service.works_without_broker();
    figures::start();
    service.sample("unsettled orders", figures::look);

    let watch = Watch::new(config.max_event_streams, stop.clone());
    service.spawn("watch", watch.clone().run(pool.clone()));
    service.consume(Outcomes { watch: watch.clone() })?;
    let sweeper = Sweeper {
        pool: pool.clone(),
        outbox_written: Arc::clone(&outbox_written),
        watch: watch.clone(),
        stop: stop.clone(),
    };
    service.spawn("sweeper", sweeper.run());

    let backlog = Backlog::default();
    let limits =
        backlog::Limits { rows: config.max_backlog, age: Duration::from_secs(config.max_backlog_seconds) };
    service.spawn("backlog", backlog.clone().watch(pool.clone(), limits, stop));

    let settings = writer::Settings {
        writers: config.order_writers,
        queue: config.order_queue,
        settle_within: Duration::from_secs(config.order_settle_seconds),
    };
    let (writer, writing) = writer::start(pool.clone(), outbox_written, &settings);
    service.spawn("writers", writing);

    let placing = Placing { writer, backlog, running: Running::default(), pool: pool.clone() };
    service.serve(routes::router(placing, pool, watch, config.staff)).await
}
