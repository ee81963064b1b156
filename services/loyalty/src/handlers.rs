//! Orders as the loyalty programme hears of them: a batch is one set of locked awards, decided in memory in
//! stream order, and written with one statement per table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events::Event;
use events::topology::{ConsumerSpec, LOYALTY};
use messaging::{Consumer, Failure, Received};
use sqlx::PgConnection;

use crate::domain::{self, Award};
use crate::store::{self, Changed};

pub struct Orders;

impl Consumer for Orders {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &LOYALTY;

    /// Nobody waits for points.
    const PACE: Duration = Duration::from_millis(100);

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let orders: BTreeSet<&str> = batch.iter().map(|event| event.order_id().as_str()).collect();
        let mut awards = store::lock_awards(tx, &Vec::from_iter(orders)).await?;
        let locked: Vec<String> = awards.keys().cloned().collect();

        let mut changed_at = BTreeMap::new();
        let mut differences = BTreeMap::new();
        for event in batch {
            let order = event.order_id().as_str();
            let current = awards.get(order);
            if let Some(award) = domain::apply(current, &event.data) {
                let before = current.map_or(0, Award::counts);
                *differences.entry(award.customer.clone()).or_insert(0) += award.counts() - before;
                changed_at.insert(order, event.time);
                awards.insert(order.to_owned(), award);
            }
        }
        let changed: Vec<_> =
            changed_at.into_iter().map(|(order, at)| Changed { order, award: &awards[order], at }).collect();
        if !store::save_awards(tx, &changed, &locked).await? {
            return Err(Failure::overtaken());
        }
        store::move_balances(tx, &differences).await?;
        Ok(())
    }
}
