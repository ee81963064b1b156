//! The chaos suite: breaks the shop while orders keep coming, heals it, and proves that nothing was lost.
//!
//! The [schedule] is drawn from a seed, the [faults] break and heal, the [recovery] is timed, and at the end of
//! a [run] two judges that share no code look at everything: `coffeectl audit` and the [accounting].

mod accounting;
mod audit;
mod databases;
mod faults;
mod letters;
mod links;
mod load;
mod notes;
mod progress;
mod prove_it;
mod proxy;
mod recovery;
mod report;
mod run;
mod schedule;
mod series;
mod shop;
mod site;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::faults::Fault;
use crate::run::Order;
use crate::series::Seeds;

/// Breaks the shop in every way while orders keep coming, heals it, and checks that nothing was lost.
///
/// Exit codes: 0 nothing was lost; 1 something was, or a fault was not recovered from in time; 2 it could
/// not be tried.
#[derive(Debug, Parser)]
#[command(name = "chaos", bin_name = "./scripts/chaos")]
struct Arguments {
    /// Decides everything that is drawn; a number of the day's time if left out.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Several runs, one after another: 1..50.
    #[arg(long)]
    seeds: Option<Seeds>,
    /// How long faults are applied in a run, by reckoning.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    faults: Vec<String>,
    /// Each fault once and alone instead of rounds drawn for some minutes.
    #[arg(long, conflicts_with = "minutes")]
    each: bool,
    /// New orders a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Recoveries may take this many times as long before they count as late, on a slow machine. What must
    /// not be lost stays the same.
    #[arg(long, default_value_t = 1.0)]
    patience: f64,
    /// On three brokers with three replicas of each stream.
    #[arg(long)]
    cluster: bool,
    /// Keep the page with the timeline as this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write what came of all runs as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Name every fault and do nothing.
    #[arg(long)]
    list: bool,
    /// Show the schedule and do nothing.
    #[arg(long)]
    plan: bool,
    /// Break the rules of the runtime one by one and see that the suite notices.
    #[arg(long)]
    prove_it: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::select! {
        done = carry_out(arguments) => done,
        () = told_to_stop() => Err(anyhow::anyhow!("stopped; the shop is closed")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("\nchaos: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn carry_out(arguments: Arguments) -> Result<bool> {
    let faults = match arguments.faults.as_slice() {
        [] => faults::of(arguments.cluster),
        names => faults::named(names, arguments.cluster)?,
    };
    if arguments.list {
        list(&if arguments.faults.is_empty() { faults::all() } else { faults });
        return Ok(true);
    }
    if arguments.prove_it {
        return prove_it::prove(arguments.rate).await;
    }
    let seeds = match (&arguments.seeds, arguments.seed) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(seed)) => Seeds::one(seed),
        (None, None) => Seeds::one(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 100_000),
    };
    let orders = seeds.map(|seed| arguments.order(seed, &faults)).collect::<Result<Vec<_>>>()?;
    if arguments.plan {
        orders.iter().for_each(plan);
        return Ok(true);
    }
    series::run(&orders, arguments.json.as_deref()).await
}

impl Arguments {
    fn order(&self, seed: u64, faults: &[Fault]) -> Result<Order> {
        ensure!(self.minutes > 0.0 && self.minutes < 10_000.0, "--minutes must be more than 0");
        ensure!(self.patience >= 1.0 && self.patience <= 100.0, "--patience is a factor from 1 to 100");
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        let rounds = match self.each {
            true => schedule::draw_each(seed, faults),
            false => schedule::draw(seed, length, faults),
        };
        Ok(Order {
            seed,
            rounds,
            rate: self.rate,
            patience: self.patience,
            is_cluster: self.cluster,
            settings: Vec::new(),
            until_violated: false,
            report: self.report.clone(),
            command: self.command(seed),
        })
    }

    /// What makes the same run again.
    fn command(&self, seed: u64) -> String {
        let mut command = format!("./scripts/chaos --seed {seed}");
        match self.each {
            true => command += " --each",
            false => command += &format!(" --minutes {}", self.minutes),
        }
        if !self.faults.is_empty() {
            command += &format!(" --faults {}", self.faults.join(","));
        }
        if self.cluster {
            command += " --cluster";
        }
        command + &format!(" --rate {}", self.rate)
    }
}

fn list(faults: &[Fault]) {
    for fault in faults {
        println!("{:32} {}", fault.name, fault.about);
    }
}

fn plan(order: &Order) {
    println!("seed {}:", order.seed);
    for (number, round) in order.rounds.iter().enumerate() {
        println!("{:4}  {}", number + 1, schedule::describe(round));
    }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = async |kind| -> Result<()> {
        signal(kind).context("cannot listen for signals")?.recv().await;
        Ok(())
    };
    let told = futures::future::select_all(
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| Box::pin(told(kind))),
    );
    if told.await.0.is_err() {
        std::future::pending::<()>().await;
    }
}
