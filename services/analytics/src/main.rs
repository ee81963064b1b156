//! Analytics: hears every event and keeps live figures of the shop: orders, revenue, best sellers, time to
//! ready. Anyone may see them, as a page and as JSON.

mod domain;
mod handlers;
mod routes;
mod store;

use clap::Parser;
use service::Service;

#[derive(Parser)]
#[command(version, about = "Keeps live figures of the shop")]
struct Config {
    #[command(flatten)]
    service: service::Config,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let mut service = Service::start("analytics", config.service, sqlx::migrate!()).await?;
    service.consume(handlers::Everything)?;
    service.watch_broker()?;
    let routes = routes::router(service.pool.clone());
    service.serve(routes).await
}
