//! The outside payment company's stand-in: a real HTTP service with its own ledger, which can be told to be
//! slow, to decline, to fail, or to charge and never answer. It hears and says no events: to the shop it is
//! a stranger behind an HTTP address.

mod behaviour;
mod domain;
mod fields;
mod ledger;
mod routes;
mod store;

use std::sync::Arc;

use clap::Parser;
use service::{Service, StaffToken};

use crate::behaviour::{Behaviour, Switch};
use crate::ledger::Ledger;

#[derive(Parser)]
#[command(version, about)]
struct Config {
    #[command(flatten)]
    service: service::Config,

    #[command(flatten)]
    staff: StaffToken,

    /// How long a new charge or refund takes, until PUT /behaviour says otherwise.
    #[arg(long, env, default_value_t = 10)]
    card_processor_delay_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let behaviour = Behaviour { delay_ms: config.card_processor_delay_ms, ..Behaviour::default() };
    let service = Service::start("card-processor", config.service, sqlx::migrate!()).await?;
    let ledger = Ledger::open(service.pool.clone(), Arc::clone(&service.kept));
    let app = routes::App { ledger, switch: Switch::new(behaviour), stop: service.stop.clone() };
    service.serve(routes::router(app, config.staff)).await
}
