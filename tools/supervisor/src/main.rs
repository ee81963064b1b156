//! Runs the coffee shop on one machine without containers: a real broker, a real database server, a
//! mailbox, and every service as a process of its own.
//!
//! `scripts/up` and `scripts/down` are the usual way to call it.

mod backoff;
mod broker;
mod catalogue;
mod databases;
mod detour;
mod down;
mod env_file;
mod keeper;
mod launch;
mod lock;
mod nats_config;
mod place;
mod plan;
mod port_holder;
mod ports;
mod process;
mod readiness;
mod run;
mod scale;
mod secrets;
mod setting;
mod shop;
mod status;
mod tail;
mod terminal;
mod tls;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::place::Place;
use crate::plan::Plan;
use crate::run::Output;

const VARIABLES: &str = "\
Environment:
  COFFEE_SHOP_RUN              where its state is (default .run)
  ORDER_API_PORT, …            a port for each service
  NATS_PORT, NATS_MONITOR_PORT, NATS_ROUTES_PORT, POSTGRES_PORT, SMTP_PORT, TRACES_PORT, TRACES_OTLP_PORT
  PORTS=free                   use no default port
  BIND_ADDRESS                 for the services' HTTP and the trace page (default 127.0.0.1)
  STAFF_TOKEN                  made when it is not set
  NATS_TLS_CERT, NATS_TLS_KEY, NATS_TLS_CA     files for --tls
  TRACES_MEGABYTES             for the traces that are kept (default 64)
  OTEL_EXPORTER_OTLP_ENDPOINT  another place for spans than the trace page
  COFFEE_SHOP_BIN              folder of the shop's programs
Everything else in the environment, such as RUST_LOG, is handed on to the services.";

/// Opens and closes the coffee shop.
#[derive(Debug, Parser)]
#[command(name = "supervisor", bin_name = "scripts")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the shop, or start what is missing in an open one.
    #[command(after_help = VARIABLES)]
    Up {
        /// Return when everything is ready, and leave it running in the background.
        #[arg(short, long)]
        detach: bool,
        #[command(flatten)]
        plan: Plan,
    },
    /// Close the shop and leave no process behind.
    Down,
    /// Print the broker's users for containers: docker/nats/users.conf.
    #[command(hide = true)]
    BrokerUsers,
    /// Be the supervisor of `up --detach`.
    #[command(hide = true)]
    Run {
        #[command(flatten)]
        plan: Plan,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let detached = matches!(arguments.command, Command::Run { .. });
    if detached {
        // A session of its own: closing the terminal must not close the shop.
        let _ = rustix::process::setsid();
    }
    match carry_out(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn carry_out(command: Command) -> Result<()> {
    if let Command::BrokerUsers = command {
        print!("{}", nats_config::users_in_containers());
        return Ok(());
    }
    let place = Place::from_env()?;
    match command {
        Command::Up { detach, plan } => up::up(place, &plan, detach).await,
        Command::Down => down::down(&place).await,
        Command::BrokerUsers => Ok(()),
        Command::Run { plan } => run::run(place, &plan, Output::Background).await.map(|_| ()),
    }
}
