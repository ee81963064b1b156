//! What the kitchen tells Prometheus beside what every service does: how much there is to make.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use sqlx::PgPool;

use crate::store;

/// The help texts, and the zeros that counters begin with.
pub fn start() {
    describe_gauge!("tickets_live", "Tickets on the board, waiting or started, counted up to 10000");
    describe_gauge!(
        "tickets_oldest_age_seconds",
        "Since when the oldest ticket on the board has been ordered"
    );
    describe_gauge!("board_pages", "Boards that are open at this instance");
    describe_counter!("tickets_bumped_total", "Tickets started and finished by baristas");
    for bump in ["start", "finish"] {
        counter!("tickets_bumped_total", "bump" => bump).increment(0);
    }
}

pub async fn look(pool: PgPool) -> Result<(), sqlx::Error> {
    let live = store::live(&pool).await?;
    gauge!("tickets_live", "state" => "waiting").set(live.waiting as f64);
    gauge!("tickets_live", "state" => "started").set(live.started as f64);
    gauge!("tickets_oldest_age_seconds").set(live.oldest_seconds);
    Ok(())
}
