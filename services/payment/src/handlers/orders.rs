//! Turns new and cancelled orders into intents. Nothing is charged here: a transaction must not stay open
//! across a call to the outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::topology::{self, ConsumerSpec};
use events::{Event, OrderId};
use messaging::{Consumer, Failure, Received};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::domain::{Payment, hear};
use crate::store;

pub struct Orders {
    /// Wakes the charges task.
    pub due: Arc<Notify>,
}

impl Consumer for Orders {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &topology::PAYMENT;

    /// Most orders are new, so the batch is first written as if all of them were, in one statement. Those
    /// that turn out to have a row, written by an earlier event, are then locked and decided on again. No
    /// two instances can both think that they were first: the insert waits for the other's commit.
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let mut by_order: BTreeMap<&OrderId, Vec<&Received<Event>>> = BTreeMap::new();
        for event in batch {
            by_order.entry(event.order_id()).or_default().push(event);
        }
        let as_new: Vec<Payment> = by_order.values().filter_map(|events| fold(None, events)).collect();
        let inserted = store::insert(tx, &as_new).await?;
        by_order.retain(|order_id, _| !inserted.contains(order_id.as_str()));
        if !by_order.is_empty() {
            let order_ids: Vec<&str> = by_order.keys().map(|order_id| order_id.as_str()).collect();
            let known = store::lock(tx, &order_ids).await?;
            let changed: Vec<Payment> = known
                .into_iter()
                .filter_map(|payment| by_order.get(&payment.order_id).and_then(|e| fold(Some(payment), e)))
                .collect();
            store::update(tx, &changed).await?;
        }
        Ok(())
    }

    fn committed(&self) {
        self.due.notify_one();
    }
}

/// The payment after all of `events`, or `None` when they change nothing.
fn fold(payment: Option<Payment>, events: &[&Received<Event>]) -> Option<Payment> {
    let mut current = payment;
    let mut is_changed = false;
    for event in events {
        if let Some(next) = hear(current.as_ref(), event, event.trace()) {
            current = Some(next);
            is_changed = true;
        }
    }
    current.filter(|_| is_changed)
}
