//! The inventory: reserves what an order needs, all lines or none, and gives it back when the order is
//! cancelled. Staff see and set the stock over HTTP.

mod domain;
mod figures;
mod handlers;
mod routes;
mod stock;
mod store;

use clap::Parser;
use service::Service;

#[derive(Parser)]
#[command(version, about = "Reserves stock for orders and releases it when they are cancelled")]
struct Config {
    #[command(flatten)]
    service: service::Config,
    #[command(flatten)]
    staff: service::StaffToken,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let mut service = Service::start("inventory", config.service, sqlx::migrate!()).await?;
    figures::start();
    service.sample("stock", figures::look);
    service.consume(handlers::Orders)?;
    let routes = routes::router(service.pool.clone(), config.staff);
    service.serve(routes).await
}
