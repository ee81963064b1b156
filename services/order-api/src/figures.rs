//! What the order counter tells Prometheus beside what every service does.

use events::EventType;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use sqlx::PgPool;

use crate::domain::Step;
use crate::store;

/// Why an order was not taken, though nothing was wrong with it.
pub mod refused {
    pub const BACKLOG: &str = "backlog";
    pub const DATABASE_AWAY: &str = "database away";
    pub const QUEUE_FULL: &str = "queue full";
    pub const UNKNOWN: &str = "outcome unknown";
    pub const BAD_ROW: &str = "bad row";

    pub const ALL: [&str; 5] = [BACKLOG, DATABASE_AWAY, QUEUE_FULL, UNKNOWN, BAD_ROW];
}

const CONFIRMED: &str = "confirmed";
const PAYMENT_DECLINED: &str = "payment declined";
const STOCK_REJECTED: &str = "stock rejected";
const EXPIRED: &str = "expired";

/// The help texts, and the zeros that counters begin with.
pub fn start() {
    describe_counter!("orders_accepted_total", "Orders stored and answered with 201");
    describe_counter!("orders_refused_total", "Valid orders not taken, by the reason");
    describe_counter!("orders_replayed_total", "Answers given again to a repeated idempotency key");
    describe_counter!("orders_settled_total", "Orders confirmed, or cancelled and why");
    describe_counter!("orders_ready_total", "Orders that are ready");
    describe_histogram!("orders_per_commit", "Orders stored by one statement");
    describe_gauge!("orders_unsettled", "Orders neither confirmed nor cancelled, counted up to 10000");
    describe_gauge!("orders_unsettled_oldest_seconds", "Age of the oldest order that is not settled");
    counter!("orders_accepted_total").increment(0);
    counter!("orders_replayed_total").increment(0);
    counter!("orders_ready_total").increment(0);
    refused::ALL.into_iter().for_each(|why| count_refused(why, 0));
    for outcome in [CONFIRMED, PAYMENT_DECLINED, STOCK_REJECTED, EXPIRED] {
        count_settled(outcome, 0);
    }
}

pub fn refuse(why: &'static str) {
    count_refused(why, 1);
}

fn count_refused(why: &'static str, orders: u64) {
    counter!("orders_refused_total", "why" => why).increment(orders);
}

pub fn expired(orders: usize) {
    count_settled(EXPIRED, orders as u64);
}

/// What an outcome has made of an order. Counted shortly before the commit, so an attempt that is repeated
/// counts twice; the exact numbers are those of analytics.
pub fn moved(steps: &[Step]) {
    let mut cause = EXPIRED;
    for step in steps {
        match step.what {
            EventType::PaymentDeclined => cause = PAYMENT_DECLINED,
            EventType::StockRejected => cause = STOCK_REJECTED,
            EventType::OrderConfirmed => count_settled(CONFIRMED, 1),
            EventType::OrderCancelled => count_settled(cause, 1),
            EventType::OrderReady => counter!("orders_ready_total").increment(1),
            _ => {}
        }
    }
}

fn count_settled(outcome: &'static str, orders: u64) {
    counter!("orders_settled_total", "outcome" => outcome).increment(orders);
}

pub async fn look(pool: PgPool) -> Result<(), sqlx::Error> {
    let (orders, age) = store::unsettled(&pool).await?;
    gauge!("orders_unsettled").set(orders as f64);
    gauge!("orders_unsettled_oldest_seconds").set(age.as_secs_f64());
    Ok(())
}
