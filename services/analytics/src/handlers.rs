//! Events as analytics hears of them: a batch is one set of locked facts, brought up to date in memory, and
//! one change of the figures.

use std::collections::BTreeSet;
use std::time::Duration;

use events::Event;
use events::topology::{ANALYTICS, ConsumerSpec};
use messaging::{Consumer, Failure, Received};
use sqlx::PgConnection;

use crate::domain::{Tally, is_of_interest};
use crate::store;

pub struct Everything;

impl Consumer for Everything {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &ANALYTICS;

    /// Nobody waits for figures.
    const PACE: Duration = Duration::from_millis(100);

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let batch: Vec<&Event> = batch.iter().map(|event| &**event).collect();
        let batch: Vec<&Event> = batch.into_iter().filter(|event| is_of_interest(&event.data)).collect();
        let orders: BTreeSet<&str> = batch.iter().map(|event| event.order_id().as_str()).collect();
        if orders.is_empty() {
            return Ok(());
        }
        let mut facts = store::lock_facts(tx, &Vec::from_iter(orders)).await?;
        let locked: Vec<String> = facts.keys().cloned().collect();

        let mut change = Tally::default();
        facts.values().for_each(|fact| change -= fact);
        for event in batch {
            facts.entry(event.order_id().to_string()).or_default().learn(event);
        }
        facts.values().for_each(|fact| change += fact);

        if !store::save_facts(tx, &facts, &locked).await? {
            return Err(Failure::overtaken());
        }
        store::move_items(tx, &change.items).await?;
        // All instances contend for this one row, so it is locked last and for the shortest time.
        store::move_totals(tx, &change.totals).await?;
        Ok(())
    }
}
