//! `coffeectl lag`: who is behind, who is at work, what waits to be published.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use anyhow::Result;
use events::topology::{CONSUMERS, ConsumerSpec};
use serde::Serialize;

use crate::answer;
use crate::lag::{self, Lag};
use crate::shop::{Shop, services};
use crate::store::{self, Instance};
use crate::table::{Table, age};

const REFRESH: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Args {
    /// Refresh every second until interrupted.
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct Picture {
    consumers: Vec<ConsumerLine>,
    outboxes: Vec<OutboxLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsumerLine {
    consumer: &'static str,
    service: &'static str,
    stream: &'static str,
    /// Missing when the consumer has no position on the broker.
    #[serde(flatten)]
    lag: Option<Lag>,
    /// Pending and unacknowledged together.
    #[serde(rename = "lag")]
    total: Option<u64>,
    instances: Vec<Instance>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboxLine {
    service: &'static str,
    unpublished: i64,
    oldest_seconds: Option<f64>,
}

pub async fn run(shop: &Shop, args: Args, json: bool) -> Result<()> {
    let mut databases = Vec::new();
    for service in services() {
        databases.push((service, shop.database(service).await?));
    }
    loop {
        let picture = look(shop, &databases).await?;
        match (json, args.watch) {
            (true, true) => answer::json_line(&picture)?,
            (true, false) => answer::json(&picture)?,
            (false, watch) => {
                let clear = if watch && stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
                answer::line(format_args!("{clear}{}", text(&picture)))?;
            }
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(REFRESH).await;
    }
}

async fn look(shop: &Shop, databases: &[(&'static str, sqlx::PgPool)]) -> Result<Picture> {
    let mut picture = Picture { consumers: Vec::new(), outboxes: Vec::new() };
    for (service, pool) in databases {
        let backlog = store::backlog(pool).await?;
        picture.outboxes.push(OutboxLine {
            service,
            unpublished: backlog.unpublished,
            oldest_seconds: backlog.oldest_seconds,
        });
        let mut instances = store::instances(pool).await?;
        for spec in CONSUMERS.iter().filter(|spec| spec.service == *service) {
            let (own, rest) = instances.into_iter().partition(|instance| instance.consumer == spec.name);
            instances = rest;
            picture.consumers.push(line(shop, spec, own).await?);
        }
    }
    Ok(picture)
}

async fn line(shop: &Shop, spec: &'static ConsumerSpec, instances: Vec<Instance>) -> Result<ConsumerLine> {
    let lag = lag::of(&shop.jetstream, spec).await?;
    Ok(ConsumerLine {
        consumer: spec.name,
        service: spec.service,
        stream: spec.stream.name,
        lag,
        total: lag.map(|lag| lag.total()),
        instances,
    })
}

fn text(picture: &Picture) -> String {
    let mut consumers =
        Table::new(["CONSUMER", "STREAM", "LAG", "PENDING", "UNACKED", "REDELIVERED", "PULLS", "INSTANCES"]);
    let mut instances =
        Table::new(["INSTANCE", "CONSUMER", "SEEN", "HANDLED", "DUPLICATES", "RETRIES", "BURIED"]);
    for line in &picture.consumers {
        let number =
            |get: fn(&Lag) -> u64| line.lag.as_ref().map_or("–".to_owned(), |lag| get(lag).to_string());
        consumers.row([
            line.consumer.into(),
            line.stream.into(),
            number(Lag::total),
            number(|lag| lag.pending),
            number(|lag| lag.unacknowledged),
            number(|lag| lag.redelivered),
            number(|lag| lag.waiting),
            line.instances.iter().filter(|instance| instance.is_alive()).count().to_string(),
        ]);
        for instance in &line.instances {
            instances.row([
                instance.instance.clone(),
                line.consumer.into(),
                format!(
                    "{} ago{}",
                    age(instance.seen_seconds_ago),
                    if instance.is_alive() { "" } else { ", gone" }
                ),
                instance.handled.to_string(),
                instance.duplicates.to_string(),
                instance.retries.to_string(),
                instance.buried.to_string(),
            ]);
        }
    }
    let mut outboxes = Table::new(["OUTBOX", "UNPUBLISHED", "OLDEST"]);
    for line in &picture.outboxes {
        let oldest = line.oldest_seconds.map_or("–".to_owned(), age);
        outboxes.row([line.service.into(), line.unpublished.to_string(), oldest]);
    }
    let absent = picture.consumers.iter().any(|line| line.lag.is_none());
    let hint = if absent { "\n– : no position on the broker; the service has never started\n" } else { "" };
    format!("{consumers}{hint}\n{instances}\n{outboxes}")
}
