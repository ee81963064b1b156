//! Charges each order once through the card processor, and gives the money back when the order is cancelled.
//! Hears OrderCreated and OrderCancelled, says PaymentCaptured, PaymentDeclined and PaymentRefunded. The
//! consumer only notes and claims what is to be done; it is done outside of any transaction.

mod charges;
mod domain;
mod figures;
mod handlers;
mod processor;
mod store;

use std::sync::Arc;

use axum::Router;
use clap::Parser;
use service::Service;
use tokio::sync::Notify;

#[derive(Parser)]
#[command(version, about)]
struct Config {
    #[command(flatten)]
    service: service::Config,

    #[command(flatten)]
    processor: processor::Config,

    /// Calls to the card processor under way at once.
    #[arg(long, env, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    charges_in_flight: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let processor = processor::Processor::new(&config.processor)?;
    let (caller, answers) = charges::Caller::new(processor, config.charges_in_flight);
    let (caller, due) = (Arc::new(caller), Arc::new(Notify::new()));

    let mut service = Service::start("payment", config.service, sqlx::migrate!()).await?;
    figures::start();
    service.sample("due payments", figures::look);
    service.consume(handlers::Orders::new(Arc::clone(&caller), Arc::clone(&due)))?;
    let desk = charges::Desk {
        kept: Arc::clone(&service.kept),
        caller,
        due,
        outbox_written: Arc::clone(&service.outbox_written),
        stop: service.stop.clone(),
    };
    service.spawn("charges", desk.run(answers));
    service.serve(Router::new()).await
}
