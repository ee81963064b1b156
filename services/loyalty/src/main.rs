//! The loyalty programme: a point for every full currency unit of an order, taken back when the order is
//! cancelled. Staff see a customer's points over HTTP.

mod domain;
mod handlers;
mod routes;
mod store;

use clap::Parser;
use service::Service;

#[derive(Parser)]
#[command(version, about = "Awards points for orders and takes them back when they are cancelled")]
struct Config {
    #[command(flatten)]
    service: service::Config,
    #[command(flatten)]
    staff: service::StaffToken,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let mut service = Service::start("loyalty", config.service, sqlx::migrate!()).await?;
    service.consume(handlers::Orders)?;
    let routes = routes::router(service.pool.clone(), config.staff);
    service.serve(routes).await
}
