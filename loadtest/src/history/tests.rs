//! Each part of a past against the tables as their service makes them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use testing::Postgres;
use time::OffsetDateTime;

use super::store::{self, Chunk};
use super::{AGO, SERVICES, one_chunk};
use crate::engine::orders::MenuItem;

/// How many orders a service remembers.
const REMEMBERED: [(&str, &str); 8] = [
    ("order-api", "select count(*) from orders where status = 'ready'"),
    ("payment", "select count(*) from payments where state = 'captured'"),
    ("card-processor", "select count(*) from charges where status = 'captured'"),
    ("inventory", "select count(*) from reservations where state = 'reserved'"),
    ("email", "select count(distinct order_id) from mails"),
    ("loyalty", "select count(*) from awards where state = 'awarded'"),
    ("kitchen-display", "select count(*) from tickets where state = 'ready'"),
    ("analytics", "select ready from totals where orders = timed"),
];

#[tokio::test]
async fn a_past_fits_into_the_tables_of_every_service() {
    let menu: Vec<MenuItem> = serde_json::from_str(
        r#"[{"sku": "latte", "name": "Latte", "price": 4.5}, {"sku": "tea", "name": "Tea", "price": 3}]"#,
    )
    .unwrap();
    for ((service, past), (of, remembered)) in SERVICES.into_iter().zip(REMEMBERED) {
        assert_eq!(service, of);
        let pool = database(service).await;
        let mut tx = pool.begin().await.unwrap();
        store::prepare(&mut tx).await.unwrap();
        let began_at = OffsetDateTime::now_utc() - AGO;
        for (from, until) in [(0, 60), (60, 100)] {
            let chunk = Chunk { from, until, tag: "test", began_at, menu: &menu };
            one_chunk(&mut tx, &chunk, past).await.unwrap_or_else(|error| panic!("{service}: {error}"));
        }
        tx.commit().await.unwrap();
        store::analyze(&pool).await.unwrap();
        let orders: i64 = sqlx::query_scalar(remembered).fetch_one(&pool).await.unwrap();
        assert_eq!(orders, 100, "{service}");
    }
}

async fn database(service: &str) -> PgPool {
    let pool = PgPool::connect(&Postgres::shared().create(service).await).await.unwrap();
    messaging::migrations().run(&pool).await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services").join(service).join("migrations");
    Migrator::new(folder).await.unwrap().run(&pool).await.unwrap();
    pool
}
