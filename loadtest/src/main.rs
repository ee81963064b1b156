//! The load tests: puts a shop that is already open under load, measures what becomes of it, and says so in
//! a report. Each of the [scenarios] answers one question; the [engine] sends the load, [measure] looks at the
//! shop meanwhile and afterwards, [report] writes down what was found.

mod engine;
mod history;
mod limits;
mod measure;
mod progress;
mod report;
mod run;
mod scenarios;
mod shop;
mod sync_shop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::run::{Options, Run};
use crate::scenarios::Scenario;

/// Puts the open shop under load. Every run ends with an audit of the shop.
///
/// Exit codes: 0 it ran and the audit is clean; 1 the audit is not; 2 it could not run, or failed.
#[derive(Parser)]
#[command(name = "loadtest", bin_name = "./loadtest/run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Run(Scenario),
    /// Lays two reports side by side.
    Compare {
        /// The JSON of a report.
        a: PathBuf,
        b: PathBuf,
    },
    /// Draws the plots of a report's scenario, each into a file of its own.
    Pictures {
        /// The JSON of a report.
        report: PathBuf,
        /// Where the pictures go.
        folder: PathBuf,
    },
}

// Requests handed from thread to thread would take from the machine what is to be measured.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(scenario) => carry_out(&scenario).await,
        Command::Compare { a, b } => report::compare::compare(&a, &b).map(|page| {
            println!("\n{}", page.display());
            true
        }),
        Command::Pictures { report, folder } => report::pictures(&report, &folder).map(|files| {
            files.iter().for_each(|file| println!("{}", file.display()));
            true
        }),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the audit is clean. Whatever way it ends, what was changed about the shop is put back.
async fn carry_out(scenario: &Scenario) -> Result<bool> {
    engine::client::allow_many_connections();
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: signal(SignalKind::hangup())?,
    };
    let options: &Options = scenario.options();
    let mut run = signals.or(Run::start(scenario.name(), scenario.question(), options)).await?;
    let ended = signals.or(async { Ok(scenario.run(&mut run).await) }).await;
    let restored = run.shop.restore().await;
    let (is_stopped, done) = (ended.is_err(), ended.flatten());
    if let (Err(_), Err(error)) = (&done, &restored) {
        eprintln!("loadtest: {error:#}");
    }
    let done = done.and(restored);
    if is_stopped {
        return done.map(|()| false);
    }
    run.report.failure = done.as_ref().err().map(|error| format!("{error:#}"));
    let reports = run.reports.clone();
    let report = signals.or(async { Ok(run.finish().await) }).await?;
    print!("{}", report::text::render(&report));
    let page = report.write(&reports)?;
    println!("\n{} (and .json)", page.display());
    done.map(|()| report.audit.holds)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal was closed.
    hangup: Signal,
}

impl Signals {
    /// The work, unless somebody has enough of it.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => return done,
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        bail!("stopped; there is no report")
    }
}
