//! `spike`: a quiet counter, then ten times as many customers for a moment, then quiet again.

use std::time::Instant;

use anyhow::Result;

use crate::run::{Options, Run, above_zero};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// The rush is so many times the rate.
    #[arg(long, default_value_t = 10.0, value_parser = above_zero)]
    pub times: f64,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    let (rate, length) = (run.rate(100.0), run.duration(10));
    run.load("before", rate, length).await?;
    let rush = run.load("rush", rate * arguments.times, length).await?;
    let over = Instant::now();
    let behind = run.lags.furthest().await?;
    let after = run.load("after", rate, length).await?;
    run.rest().await?;
    run.find("accepted in the rush", rush.success() * 100.0, "%");
    run.find("request p99 in the rush", rush.latency.p99, "ms");
    run.find("furthest behind after the rush", behind as f64, "events");
    run.find("everything done after the rush, at most", over.elapsed().as_secs_f64(), "s");
    run.find("request p99 after the rush", after.latency.p99, "ms");
    Ok(())
}
