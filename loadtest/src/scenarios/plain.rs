//! `smoke`, `steady` and `soak`: one load at a constant rate, for seconds, a minute or an hour.

use anyhow::{Result, ensure};

use crate::run::Run;

/// Fails when an order was refused: at this rate nothing may be.
pub async fn smoke(run: &mut Run) -> Result<()> {
    let (rate, length) = (run.rate(20.0), run.duration(5));
    let outcome = run.load("smoke", rate, length).await?;
    run.find("orders accepted", outcome.accepted as f64, "");
    run.find("request p99", outcome.latency.p99, "ms");
    ensure!(
        outcome.accepted == outcome.due,
        "of {} orders {} were accepted: {:?}",
        outcome.due,
        outcome.accepted,
        outcome.refused
    );
    Ok(())
}

/// What every request pays for anyway is told by the first two figures; how far behind consumers were, by the
/// third.
pub async fn steady(run: &mut Run) -> Result<()> {
    constant(run, "steady", 500.0, 60).await
}

pub async fn soak(run: &mut Run) -> Result<()> {
    constant(run, "soak", 200.0, 60 * 60).await?;
    for (part, grown) in run.memory_growth() {
        run.find(&format!("memory gained since the first minute: {part}"), grown, "MB");
    }
    Ok(())
}

async fn constant(run: &mut Run, name: &str, rate: f64, seconds: u64) -> Result<()> {
    let (rate, length) = (run.rate(rate), run.duration(seconds));
    let outcome = run.load(name, rate, length).await?;
    let behind = run.lags.furthest().await?;
    run.find("accepted", outcome.throughput(), "/s");
    run.find("request p50", outcome.latency.p50, "ms");
    run.find("request p99", outcome.latency.p99, "ms");
    run.find("furthest behind at the end", behind as f64, "events");
    Ok(())
}
