//! The operator's tool: how far each consumer is behind, what was given up on and why, reading a stream
//! again, and the audit that compares every service's database with the others and with the broker.
//!
//! It speaks to the broker and the databases directly, not to the services, so that it tells the truth about
//! a shop whose services are down. It may write to the broker only; its database role reads.

mod answer;
mod audit;
mod commands;
mod confirm;
mod lag;
mod progress;
mod shop;
mod store;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{audit as audit_command, dlq, lag as lag_command, replay};
use crate::shop::{Address, Shop};

const EXIT_CODES: &str = "Exit codes:
  0  done; for audit: everything holds
  1  audit found violations
  2  could not be done: wrong usage, not confirmed, or a server did not answer

The addresses come from OPERATOR_NATS_URL and OPERATOR_DATABASE_URL; ./scripts/coffeectl sets both for the
shop that ./scripts/up started.";

/// Runs the coffee shop's stream: lag, dead letters, replay, audit.
#[derive(Parser)]
#[command(name = "coffeectl", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    address: Address,
    /// Print JSON for programs instead of tables for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How far each consumer is behind, who is at work, and what waits in the outboxes.
    Lag(lag_command::Args),
    /// Events that a consumer gave up on: look at them, hand them back, or throw them away.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Let one consumer read its stream again from a point in time; what it processed before is skipped.
    Replay(replay::Args),
    /// Check the ten invariants over all databases, the card processor's ledger and the broker.
    #[command(after_help = audit_command::INVARIANTS)]
    Audit(audit_command::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    messaging::failpoint::from_env();
    let cli = Cli::parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            if !answer::is_unread(&error) {
                eprintln!("coffeectl: {error:#}");
            }
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let shop = Shop::connect(&cli.address).await?;
    match cli.command {
        Command::Lag(args) => lag_command::run(&shop, args, cli.json).await?,
        Command::Dlq(command) => dlq::run(&shop, command, cli.json).await?,
        Command::Replay(args) => replay::run(&shop, args, cli.json).await?,
        Command::Audit(args) => return audit_command::run(&shop, args, cli.json).await,
    }
    Ok(ExitCode::SUCCESS)
}
