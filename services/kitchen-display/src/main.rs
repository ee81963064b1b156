//! The kitchen display: a live board of the orders to be made, and the baristas' bumps.

mod board;
mod bumping;
mod domain;
mod figures;
mod handlers;
mod page;
mod routes;
mod store;

use std::sync::Arc;

use clap::Parser;
use service::{Service, StaffToken};

#[derive(Parser)]
#[command(version, about = "The board in the kitchen: what to make, what is being made")]
struct Config {
    #[command(flatten)]
    service: service::Config,
    #[command(flatten)]
    staff: StaffToken,
    /// Boards that may be open at this instance at once.
    #[arg(long, env, default_value_t = 500)]
    board_max_pages: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let mut service = Service::start("kitchen-display", config.service, sqlx::migrate!()).await?;
    let board = board::Board::new(service.pool.clone(), config.board_max_pages);
    let counter = bumping::Counter {
        pool: service.pool.clone(),
        outbox_written: Arc::clone(&service.outbox_written),
        board: board.clone(),
    };
    figures::start();
    service.sample("tickets", figures::look);
    service.consume(handlers::Orders)?; // OrderCreated, OrderConfirmed, OrderCancelled
    service.spawn("board", board.watch(service.stop.clone()));
    let stop = service.stop.clone();
    service.serve(routes::router(counter, config.staff, stop)).await
}
