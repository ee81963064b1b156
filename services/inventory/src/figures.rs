//! What the inventory tells Prometheus beside what every service does: how much there is of what.

use metrics::{describe_gauge, gauge};
use sqlx::PgPool;

use crate::store;

pub fn start() {
    describe_gauge!("stock_available", "Items that can still be ordered, by sku");
}

pub async fn look(pool: PgPool) -> Result<(), sqlx::Error> {
    for row in store::list_stock(&pool).await? {
        gauge!("stock_available", "sku" => row.sku).set(row.available as f64);
    }
    Ok(())
}
