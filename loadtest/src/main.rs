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
    let ignores_hangup = ignores_hangup();
    let mut signals = Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: signal(SignalKind::hangup())?,
        may_hang_up: !ignores_hangup,
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
    let page = report.write(&reports);
    print!("{}", report::text::render(&report));
    println!("\n{} (and .json)", page?.display());
    done.map(|()| report.audit.holds)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal was closed.
    hangup: Signal,
    may_hang_up: bool,
}

/// As `nohup` has it: the run then goes on. Asked before anybody listens to the signal (proc_pid_status(5)).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (SignalKind::hangup().as_raw_value() - 1) & 1 == 1
}

impl Signals {
    /// The work, unless somebody has enough of it.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => return done,
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv(), if self.may_hang_up => {}
        }
        bail!("stopped; there is no report")
    }
}
