//! Writes charges that arrive together with one statement and one commit. A request waits for nobody when
//! the processor is quiet, and thousands per second need one connection; the row is committed before the
//! caller hears of it.

use std::sync::Arc;
use std::time::Duration;

use messaging::{Kept, Statement, Together};
use service::Problem;
use sqlx::PgPool;

use crate::domain::Charge;
use crate::store;

/// A charge in the ledger: the one asked for now, or the one booked earlier under the same key.
pub struct Booked {
    pub charge: Charge,
    pub is_new: bool,
}

struct Booking(Arc<Kept>);

impl Statement for Booking {
    type Item = Charge;
    type Answer = Booked;
    const PACE: Duration = Duration::from_millis(5);

    async fn run(&self, charges: &[Charge]) -> Result<Vec<Booked>, sqlx::Error> {
        let mut db = self.0.take().await?;
        let booked = store::book(&mut db, charges).await?;
        db.keep();
        Ok(booked)
    }
}

#[derive(Clone)]
pub struct Ledger {
    booking: Arc<Together<Booking>>,
    pub pool: PgPool,
}

impl Ledger {
    pub fn open(pool: PgPool, kept: Arc<Kept>) -> Ledger {
        Ledger { booking: Arc::new(Together::new(Booking(kept))), pool }
    }

    pub async fn book(&self, charge: Charge) -> Result<Booked, Problem> {
        self.booking.ask(charge).await.map_err(|error| {
            tracing::error!(%error, "the ledger cannot be written");
            Problem::unavailable("the ledger cannot be written now; please try again")
        })
    }
}
