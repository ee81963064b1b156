//! A broker that is away, and one that comes back with less than it had. By default nats-server flushes to
//! disk every two minutes, so a machine that loses power takes the last seconds of each stream with it
//! although they were acknowledged: the same as an older copy of its files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::site::Site;

pub const FAULTS: &[Fault] = &[
    away("broker-away", "the broker is away").lasting(20, 40),
    away("broker-away-long", "the broker is away for ten minutes; only when asked for")
        .lasting(600, 600)
        .recovering_within(60)
        .on_request(),
    fault(
        "broker-loses-tail",
        "the broker comes back with an older copy of its files, without the last seconds",
        &["nats"],
        |s, d| Box::pin(loses_tail(s, d)),
    )
    .lasting(3, 10)
    .needing(&["supervisor"])
    .with_one_broker(),
    fault("broker-empty", "the broker comes back with an empty store", &["nats"], |s, d| {
        Box::pin(comes_back_empty(s, d))
    })
    .lasting(1, 5)
    .recovering_within(20)
    .needing(&["supervisor"])
    .with_one_broker(),
];

const fn away(name: &'static str, about: &'static str) -> Fault {
    fault(name, about, &["nats"], |s, d| Box::pin(stays_away(s, d)))
        .needing(&["supervisor"])
        .with_one_broker()
}

async fn stays_away(site: &Site, draw: &Draw) -> Result<Effect> {
    stop(site).await?;
    for_as_long(draw).await;
    start(site).await
}

/// What is drawn is how much it loses.
async fn loses_tail(site: &Site, draw: &Draw) -> Result<Effect> {
    let store = store(site);
    let older = store.with_extension("older");
    copy(&store, &older).await?;
    for_as_long(draw).await;
    stop(site).await?;
    std::fs::remove_dir_all(&store)?;
    std::fs::rename(&older, &store)?;
    start(site).await
}

async fn comes_back_empty(site: &Site, draw: &Draw) -> Result<Effect> {
    stop(site).await?;
    std::fs::remove_dir_all(store(site))?;
    for_as_long(draw).await;
    start(site).await
}

/// Without a chance to write anything more, and not started again.
async fn stop(site: &Site) -> Result<()> {
    site.shop.signal("nats", Signal::KILL)?;
    site.shop.up(&["--scale".into(), "nats=0".into()]).await
}

async fn start(site: &Site) -> Result<Effect> {
    site.shop.up(&["--scale".into(), "nats=1".into()]).await?;
    Ok(Effect::Applied)
}

fn store(site: &Site) -> PathBuf {
    site.shop.run_folder().join("data/nats")
}

/// While the broker writes: files that go meanwhile are left out, and the copy is no sharper than a disk
/// after a power failure.
async fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to);
    for attempt in 1.. {
        let copied = tokio::process::Command::new("cp")
            .args(["-R", "--"])
            .args([from, to])
            .stderr(std::process::Stdio::null())
            .status();
        if copied.await.context("cannot run cp")?.success() || (to.is_dir() && attempt == 3) {
            break;
        }
        std::fs::remove_dir_all(to)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
