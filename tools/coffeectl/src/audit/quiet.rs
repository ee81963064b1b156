//! Waits until the shop is at rest: between two commits of one order everything may look broken.

use std::time::Duration;

use anyhow::Result;
use events::topology::CONSUMERS;
use messaging::dead_letter;
use tokio::time::Instant;

use super::databases::Databases;
use super::{letters, reader, store as audit_store};
use crate::progress::Progress;
use crate::shop::Shop;
use crate::{lag, store};

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Returns what still keeps the shop busy after `patience`; nothing when it is at rest.
pub async fn wait(
    shop: &Shop,
    databases: &Databases,
    patience: Duration,
    progress: &mut Progress,
) -> Result<Vec<String>> {
    let deadline = Instant::now() + patience;
    let mut calm = false;
    loop {
        let busy = busy(shop, databases).await?;
        // What one database hands to the next can be missed by a single look from one to the other.
        if (busy.is_empty() && calm) || Instant::now() >= deadline {
            return Ok(busy);
        }
        calm = busy.is_empty();
        if !calm {
            progress.say(format!("waiting for the shop to come to rest: {}", busy.join(", ")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// In the order in which work flows, so that what moves on during the look is seen further down.
async fn busy(shop: &Shop, databases: &Databases) -> Result<Vec<String>> {
    let mut busy = Vec::new();
    let received = audit_store::count_received(databases.of("order-api")).await?;
    let paying = audit_store::payments_under_way(databases.of("payment")).await?;
    if paying > 0 {
        busy.push(format!("{paying} payments under way"));
    }
    for (service, pool) in databases.of_services() {
        let unpublished = store::backlog(pool).await?.unpublished;
        if unpublished > 0 {
            busy.push(format!("{unpublished} unpublished in {service}"));
        }
    }
    for spec in CONSUMERS {
        match lag::of(&shop.jetstream, spec).await? {
            None => busy.push(format!("{} never started", spec.name)),
            Some(lag) if lag.total() > 0 => busy.push(format!("{} {} behind", spec.name, lag.total())),
            Some(_) => {}
        }
    }
    // What nothing moves any more may be waiting for a dead letter.
    let waiting =
        if busy.is_empty() && received > 0 { unexplained(shop, databases).await? } else { received };
    if waiting > 0 {
        busy.insert(0, format!("{waiting} orders not settled"));
    }
    Ok(busy)
}

/// How many orders are not settled though nobody gave up on one of their events.
async fn unexplained(shop: &Shop, databases: &Databases) -> Result<i64> {
    let mut received = audit_store::received_orders(databases.of("order-api")).await?;
    for letter in dead_letter::list(&shop.jetstream).await? {
        let order = match letters::order_of(&letter.body) {
            None => reader::order_at(shop, letter.stream_sequence).await,
            order => order,
        };
        order.map(|order| received.remove(&order));
    }
    Ok(received.len() as i64)
}
