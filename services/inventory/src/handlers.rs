//! Orders as the inventory hears of them. A batch is one set of locked rows, decided in memory in stream
//! order, and written with one statement per table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use events::topology::{ConsumerSpec, INVENTORY};
use events::{Data, Event};
use messaging::{Consumer, Failure, Outgoing, Received};
use sqlx::PgConnection;

use crate::domain::{self, Reservation};
use crate::store;

pub struct Orders;

impl Consumer for Orders {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &INVENTORY;

    /// Twice the usual: an order waits longer for its card.
    const PACE: Duration = Duration::from_millis(20);

    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let orders: BTreeSet<&str> = batch.iter().map(|event| event.order_id().as_str()).collect();
        let known = store::lock_reservations(tx, &Vec::from_iter(orders)).await?;
        // The stock is what all instances contend for, so it is locked after that.
        let mut shelf = store::lock_stock(tx, &mentioned(batch, known.values())).await?;

        let mut decided: BTreeMap<&str, Reservation> = BTreeMap::new();
        let mut outgoing = Vec::new();
        for event in batch {
            let order = event.order_id().as_str();
            let current = decided.get(order).or_else(|| known.get(order));
            let Some(decision) = domain::apply(current, &event.data, &mut shelf) else {
                continue;
            };
            decided.insert(order, decision.reservation);
            if let Some(data) = decision.say {
                outgoing.push(Outgoing::event(&Event::new(data, None), event.trace()));
            }
        }
        let locked: Vec<&str> = known.keys().map(String::as_str).collect();
        if !store::save_reservations(tx, &decided, &locked).await? {
            return Err(Failure::overtaken());
        }
        messaging::append(tx, &outgoing).await?;
        store::save_stock(tx, &shelf).await?;
        Ok(())
    }
}

/// Skus and lower-case names that the decisions about these events may touch.
fn mentioned<'a>(batch: &[Received<Event>], held: impl Iterator<Item = &'a Reservation>) -> store::Mentioned {
    let mut mentioned = store::Mentioned::default();
    for event in batch {
        if let Data::OrderCreated(order) = &event.data {
            for item in &order.items {
                mentioned.skus.extend(item.sku.clone());
                mentioned.names.insert(item.name.to_lowercase());
            }
        }
    }
    mentioned.skus.extend(held.flat_map(|reservation| &reservation.lines).map(|line| line.sku.clone()));
    mentioned
}
