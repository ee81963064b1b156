//! Three brokers of which one fails. The other two go on; nobody in the shop may notice more than a moment.

use std::time::Duration;

use anyhow::{Context as _, Result};
use events::topology::ORDERS;
use rand::SeedableRng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::site::{Site, insist};

const BROKERS: [&str; 3] = ["nats", "nats-2", "nats-3"];

pub const FAULTS: &[Fault] = &[
    fault("leader-killed", "kill -9 of the broker that leads ORDERS", &["brokers"], |s, d| {
        Box::pin(kill_leader(s, d))
    })
    .in_a_cluster(),
    fault("follower-paused", "SIGSTOP of a broker that follows", &["brokers"], |s, d| {
        Box::pin(pause_follower(s, d))
    })
    .lasting(5, 30)
    .in_a_cluster(),
    fault("leader-paused", "SIGSTOP of the broker that leads ORDERS", &["brokers"], |s, d| {
        Box::pin(pause_leader(s, d))
    })
    .lasting(5, 30)
    .in_a_cluster(),
    fault(
        "rolling-restart",
        "each broker in turn is stopped gently and started again",
        &["brokers"],
        |s, d| Box::pin(restart_each(s, d)),
    )
    .lasting(1, 3)
    .needing(&["supervisor"])
    .in_a_cluster(),
];

async fn kill_leader(site: &Site, _draw: &Draw) -> Result<Effect> {
    let leader = leader(site).await?;
    site.shop.kill(leader).await?;
    whole_again(site).await
}

async fn pause_leader(site: &Site, draw: &Draw) -> Result<Effect> {
    let leader = leader(site).await?;
    pause(site, leader, draw).await
}

async fn pause_follower(site: &Site, draw: &Draw) -> Result<Effect> {
    let leader = leader(site).await?;
    let followers: Vec<&str> = BROKERS.into_iter().filter(|broker| *broker != leader).collect();
    let follower = followers.choose(&mut ChaCha8Rng::seed_from_u64(draw.seed)).context("no follower")?;
    pause(site, follower, draw).await
}

async fn pause(site: &Site, broker: &str, draw: &Draw) -> Result<Effect> {
    site.shop.signal(broker, Signal::STOP)?;
    for_as_long(draw).await;
    site.shop.signal(broker, Signal::CONT)?;
    whole_again(site).await
}

/// As an operator does it: the next one only when the last one has caught up.
async fn restart_each(site: &Site, draw: &Draw) -> Result<Effect> {
    for broker in BROKERS {
        let before = site.shop.pid(broker)?;
        site.shop.signal(broker, Signal::TERM)?;
        site.shop.started_again(broker, before, Duration::from_secs(60)).await?;
        whole_again(site).await?;
        for_as_long(draw).await;
    }
    Ok(Effect::Applied)
}

async fn leader(site: &Site) -> Result<&'static str> {
    let name = insist("find the leader of ORDERS", async || {
        let stream = site.broker.get_stream(ORDERS.name).await?;
        let cluster = stream.cached_info().cluster.clone();
        cluster.and_then(|cluster| cluster.leader).context("ORDERS has no leader")
    })
    .await?;
    let broker = BROKERS.into_iter().find(|broker| *broker == name);
    broker.with_context(|| format!("the leader of ORDERS is {name:?}, none of {BROKERS:?}"))
}

/// Until every replica of the stream has caught up: two brokers of three must always be well.
async fn whole_again(site: &Site) -> Result<Effect> {
    insist("see all replicas again", async || {
        let stream = site.broker.get_stream(ORDERS.name).await?;
        let cluster = stream.cached_info().cluster.clone().context("ORDERS is not replicated")?;
        let is_whole = cluster.leader.is_some()
            && cluster.replicas.len() + 1 == BROKERS.len()
            && cluster.replicas.iter().all(|replica| replica.current);
        anyhow::ensure!(is_whole, "a replica of ORDERS has not caught up");
        Ok(())
    })
    .await?;
    Ok(Effect::Applied)
}
