//! One service whose clock is an hour wrong, by libfaketime (<https://github.com/wolfcw/libfaketime>). Its
//! clock jumps while it runs, and jumps back.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::{Effect, Fault, fault, for_as_long};
use crate::schedule::Draw;
use crate::shop::SERVICES;
use crate::site::Site;

/// The library reads its file at most this often.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

pub const FAULTS: &[Fault] = &[
    fault("clock-ahead", "the clock of a service jumps an hour ahead, and back", &SERVICES, |s, d| {
        Box::pin(jump(s, d, "+3600"))
    })
    .lasting(8, 15)
    .needing(&["supervisor", "nats", "postgres"]),
    fault("clock-behind", "the clock of a service jumps an hour back, and ahead again", &SERVICES, |s, d| {
        Box::pin(jump(s, d, "-3600"))
    })
    .lasting(8, 15)
    .needing(&["supervisor", "nats", "postgres"]),
];

/// The service is restarted with the library first, which it keeps until its next start.
async fn jump(site: &Site, draw: &Draw, offset: &str) -> Result<Effect> {
    let Some(library) = std::env::var_os("LIBFAKETIME").filter(|path| !path.is_empty()) else {
        return Ok(Effect::Skipped("there is no libfaketime on this machine".into()));
    };
    let clock = site.shop.folder().join(format!("clock-of-{}", draw.target));
    set(&clock, "+0")?;
    preload(site, draw.target, &PathBuf::from(library), &clock).await?;
    set(&clock, offset)?;
    for_as_long(draw).await;
    set(&clock, "+0")?;
    tokio::time::sleep(LOOKS_EVERY).await;
    site.shop.up(&["--set".into(), format!("{}.LD_PRELOAD", draw.target)]).await?;
    Ok(Effect::Applied)
}

async fn preload(
    site: &Site,
    service: &str,
    library: &std::path::Path,
    clock: &std::path::Path,
) -> Result<()> {
    let settings = [
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_CACHE_DURATION", LOOKS_EVERY.as_secs().to_string()),
        // Time limits are measured by another clock, which never jumps.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("LD_PRELOAD", library.display().to_string()),
    ];
    let arguments: Vec<String> = settings
        .into_iter()
        .flat_map(|(name, value)| ["--set".to_owned(), format!("{service}.{name}={value}")])
        .collect();
    site.shop.up(&arguments).await?;
    let before = site.shop.pid(service)?;
    site.shop.signal(service, Signal::TERM)?;
    site.shop.started_again(service, before, Duration::from_secs(30)).await
}

fn set(clock: &std::path::Path, offset: &str) -> Result<()> {
    std::fs::write(clock, format!("{offset}\n")).with_context(|| format!("cannot write {}", clock.display()))
}
