//! Hears what became of an order's payment, stock and ticket, and moves the order forward.

use std::collections::{BTreeSet, HashMap};

use events::topology::{ConsumerSpec, ORDER_API};
use events::{Data, Event};
use messaging::{Consumer, Failure, Outgoing, Received};
use sqlx::PgConnection;

use crate::domain::{Order, Step};
use crate::watch::Watch;
use crate::{figures, store};

pub struct Outcomes {
    pub watch: Watch,
}

impl Consumer for Outcomes {
    type Message = Event;
    const SPEC: &'static ConsumerSpec = &ORDER_API;

    /// An outcome for an order that is not ours, published by hand, concerns nobody and is passed over.
    async fn handle(&self, tx: &mut PgConnection, batch: &[Received<Event>]) -> Result<(), Failure> {
        let ids: BTreeSet<&str> = batch.iter().map(|event| event.order_id().as_str()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let orders = store::lock(tx, &ids).await?;
        let mut orders: HashMap<String, (Order, Vec<Step>)> =
            orders.into_iter().map(|order| (order.id.to_string(), (order, Vec::new()))).collect();
        let mut says = Vec::new();
        for event in batch {
            let Some((order, steps)) = orders.get_mut(event.order_id().as_str()) else {
                tracing::debug!(order = %event.order_id(), event = event.event_type().as_str(), "no such order");
                continue;
            };
            let new = order.hear(&event.data);
            says.extend(new.iter().filter_map(outgoing).map(|said| Outgoing::event(&said, event.trace())));
            steps.extend(new);
        }
        let changed: Vec<(&Order, &[Step])> = orders
            .values()
            .filter(|(_, steps)| !steps.is_empty())
            .map(|(order, steps)| (order, steps.as_slice()))
            .collect();
        if !changed.is_empty() {
            store::save(tx, &changed).await?;
            messaging::append(tx, &says).await?;
            changed.iter().for_each(|(_, steps)| figures::moved(steps));
            self.watch.expect_change();
        }
        Ok(())
    }
}

/// The event that a step says, with the order's version as its sequence.
pub fn outgoing(step: &Step) -> Option<Event> {
    let says: &Data = step.says.as_ref()?;
    Some(Event::new(says.clone(), Some(step.version)))
}
