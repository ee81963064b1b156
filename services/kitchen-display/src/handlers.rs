//! Hears of orders. The consumer is partitioned: each order has one reader at a time among all instances,
//! so its ticket is never fought over, and the others take over when an instance dies.

use std::collections::BTreeSet;
use std::time::Duration;

use events::Event;
use events::topology::{self, ConsumerSpec};
use messaging::{Consumer, Failure, Message, Received};
use sqlx::PgConnection;

use crate::store;

pub struct Orders;

impl Consumer for Orders {
    type Message = Event;

    const SPEC: &'static ConsumerSpec = &topology::KITCHEN_DISPLAY;

    /// A ticket may take a tenth of a second to its screen.
    const PACE: Duration = Duration::from_millis(50);

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let order_ids: BTreeSet<&str> = batch.iter().map(|event| Message::order_id(&**event)).collect();
        let mut tickets = store::lock(tx, &Vec::from_iter(order_ids)).await?;
        let locked: Vec<String> = tickets.keys().cloned().collect();
        for event in batch {
            let ticket = tickets.entry(Message::order_id(&**event).to_owned()).or_default();
            ticket.hear(event, event.trace());
        }
        if !store::save(tx, &tickets, &locked).await? {
            return Err(Failure::overtaken());
        }
        Ok(())
    }
}
