//! `supervisor down`: closes the shop from another terminal, and clears up after a supervisor that was
//! killed. Nothing to do is no error and no word.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_process};

use crate::catalogue::{Instance, SERVERS};
use crate::keeper::{GRACE, stop_signal};
use crate::lock::Lock;
use crate::place::Place;
use crate::process::{self, Process, pid_of};
use crate::shop::survivors;
use crate::terminal::say;

/// The services and then each server may use up their time to stop.
const CLOSED_WITHIN: Duration = Duration::from_secs(75);

pub async fn down(place: &Place) -> Result<()> {
    if !place.run.is_dir() {
        return Ok(());
    }
    if let Some(supervisor) = Lock::holder(place) {
        say("closing the shop");
        let pid = pid_of(supervisor).context("the supervisor has no pid")?;
        kill_process(pid, Signal::TERM)?;
        if !process::gone(supervisor, CLOSED_WITHIN).await {
            say("the supervisor does not end: killing it");
            let _ = kill_process(pid, Signal::KILL);
            process::gone(supervisor, GRACE).await;
        }
        clear_up(place).await?;
        say("the shop is closed");
        return Ok(());
    }
    clear_up(place).await
}

/// Stops what a killed supervisor left, in the order it would have.
async fn clear_up(place: &Place) -> Result<()> {
    let left = survivors(place);
    if !left.is_empty() {
        say("stopping what a killed supervisor left");
    }
    stop_all(place, left.iter().copied().filter(|instance| !instance.is_server())).await;
    for part in SERVERS.iter().rev() {
        let servers = left.iter().copied().filter(|instance| instance.part == *part);
        stop_all(place, servers).await;
    }
    for file in fs::read_dir(place.pids()).into_iter().flatten().flatten() {
        fs::remove_file(file.path())?;
    }
    for file in [place.status(), place.plan()] {
        let _ = fs::remove_file(file);
    }
    Ok(())
}

async fn stop_all(place: &Place, instances: impl Iterator<Item = Instance>) {
    let mut stopping = tokio::task::JoinSet::new();
    for instance in instances {
        stopping.spawn(stop(place.clone(), instance));
    }
    stopping.join_all().await;
}

async fn stop(place: Place, instance: Instance) {
    if let Some(mut process) = Process::find(&place.pids(), &instance.to_string())
        && !process.stop(stop_signal(&instance), GRACE).await
    {
        say(&format!("{instance} did not stop within {} s and was killed", GRACE.as_secs()));
    }
}
