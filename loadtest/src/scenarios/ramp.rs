//! `ramp`: finds the knee and names what gave way. With `--consumers stopped` it is the counter alone, which
//! is to be compared with the database; otherwise all consumers have to keep up.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::knee::{self, Judged};
use crate::run::{Options, Run};
use crate::shop::CONSUMING;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    #[arg(long, value_enum, default_value = "running")]
    pub consumers: Consumers,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Consumers {
    Running,
    Stopped,
}

pub async fn run(run: &mut Run, arguments: &Arguments) -> Result<()> {
    let (from, step) = (run.rate(250.0), run.duration(10));
    match arguments.consumers {
        Consumers::Running => with_all_running(run, from, step).await?,
        Consumers::Stopped => counter_alone(run, from, step).await?,
    };
    Ok(())
}

/// Returns the rate at which every consumer kept up.
pub async fn with_all_running(run: &mut Run, from: f64, step: Duration) -> Result<f64> {
    let knee = knee::find(run, "everything running", from, step, Judged::ByConsumersToo).await?;
    run.find("sustained with every consumer keeping up", knee.outcome.throughput(), "/s");
    half_of(run, "everything running", knee.rate, step).await?;
    Ok(knee.outcome.throughput())
}

/// Returns what was accepted at the knee while every consumer was stopped.
pub async fn counter_alone(run: &mut Run, from: f64, step: Duration) -> Result<f64> {
    let since = run.report.loads.len();
    run.progress.say("stopping the consumers");
    let stopped: Vec<(&str, usize)> = CONSUMING.iter().map(|service| (*service, 0)).collect();
    run.shop.scale_all(&stopped).await?;
    let knee = knee::find(run, "consumers stopped", from, step, Judged::ByAnswers).await?;
    run.find("accepted at the knee, consumers stopped", knee.outcome.throughput(), "/s");
    half_of(run, "consumers stopped", knee.rate, step).await?;
    run.forget_followed(since);
    run.mark("consumers are back");
    run.shop.restore().await?;
    run.rest().await?;
    Ok(knee.outcome.throughput())
}

/// How it feels when there is room.
async fn half_of(run: &mut Run, what: &str, knee: f64, step: Duration) -> Result<()> {
    let outcome = run.load(&format!("{what}, half of the knee"), knee / 2.0, step).await?;
    run.find(&format!("request p50 at half of the knee, {what}"), outcome.latency.p50, "ms");
    run.find(&format!("request p99 at half of the knee, {what}"), outcome.latency.p99, "ms");
    Ok(())
}
