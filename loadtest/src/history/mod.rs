//! A past for the shop: orders that were placed, paid, made and mailed days ago, written straight into the
//! tables of every service. They are older than the outbox keeps its rows and finished, and they agree with
//! each other, so that the audit finds nothing wrong with them.

mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::PgConnection;
use time::OffsetDateTime;

use self::store::{Chunk, Past};
use crate::engine::orders::MenuItem;
use crate::shop::Shop;

/// Orders that are invented at a time.
const CHUNK: i64 = 20_000;
/// Of all orders. One comes every tenth of a second, and the last is still older than that.
pub const MOST: u64 = 2_500_000;
/// Older than the three days for which the outbox is kept, younger than the fourteen of the inbox.
const AGO: Duration = Duration::from_secs(6 * 24 * 60 * 60);

/// Everybody who has something to remember, and what each writes.
const SERVICES: [(&str, &[Past]); 8] = [
    ("order-api", &[Past::Orders, Past::Timelines, Past::Inbox("order-api", &OUTCOMES)]),
    ("payment", &[Past::Payments, Past::Inbox("payment", &["OrderCreated"])]),
    ("card-processor", &[Past::Charges]),
    ("inventory", &[Past::Reservations, Past::Stock, Past::Inbox("inventory", &["OrderCreated"])]),
    ("email", &[Past::Mails, Past::Inbox("email", &["OrderCreated", "OrderReady"])]),
    ("loyalty", &[Past::Awards, Past::Balances, Past::Inbox("loyalty", &["OrderCreated"])]),
    (
        "kitchen-display",
        &[Past::Tickets, Past::Inbox("kitchen-display", &["OrderCreated", "OrderConfirmed"])],
    ),
    ("analytics", &[Past::Facts, Past::Totals, Past::ItemTotals, Past::Inbox("analytics", &EVERYTHING)]),
];
const OUTCOMES: [&str; 4] = ["StockReserved", "PaymentCaptured", "TicketStarted", "TicketReady"];
const EVERYTHING: [&str; 7] = [
    "OrderCreated",
    "StockReserved",
    "PaymentCaptured",
    "OrderConfirmed",
    "TicketStarted",
    "TicketReady",
    "OrderReady",
];

/// Call it while the shop is at rest. All databases are written at the same time, and committed when the last is done: of a
/// past of which some services know nothing, no audit could be clean.
pub async fn write(shop: &Shop, menu: &[MenuItem], orders: u64) -> Result<()> {
    let tag = uuid::Uuid::new_v4().simple().to_string();
    let began_at = OffsetDateTime::now_utc() - AGO;
    let all = SERVICES.iter().map(|(service, past)| {
        let tag = &tag;
        async move {
            let pool = shop.write(service)?;
            let mut tx = pool.begin().await?;
            store::prepare(&mut tx).await?;
            for from in (0..orders as i64).step_by(CHUNK as usize) {
                let until = (from + CHUNK).min(orders as i64);
                let chunk = Chunk { from, until, tag, began_at, menu };
                one_chunk(&mut tx, &chunk, past).await.with_context(|| format!("the past of {service}"))?;
            }
            anyhow::Ok((pool, tx))
        }
    });
    let mut pools = Vec::new();
    for (pool, tx) in futures::future::try_join_all(all).await? {
        let half =
            "the past was written in part, and this shop's audit cannot be clean any more: delete its folder";
        tx.commit().await.context(half)?;
        pools.push(pool);
    }
    for pool in pools {
        store::analyze(&pool).await?;
    }
    Ok(())
}

async fn one_chunk(tx: &mut PgConnection, chunk: &Chunk<'_>, past: &[Past]) -> Result<(), sqlx::Error> {
    chunk.invent(tx).await?;
    for part in past {
        part.write(tx).await?;
    }
    Ok(())
}
