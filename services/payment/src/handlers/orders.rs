//! Turns new and cancelled orders into intents, and claims new ones at once, as far as there are places for calls. Nothing is
//! charged here: a transaction must not stay open across a call to the outside, so the calls begin when it is committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::topology::{self, ConsumerSpec};
use events::{Event, OrderId};
use messaging::{Consumer, Failure, Received};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::charges::{Caller, Place};
use crate::domain::{Payment, State, hear};
use crate::store::{self, Claimed};

pub struct Orders {
    caller: Arc<Caller>,
    /// Wakes the charges task.
    due: Arc<Notify>,
    begun: Mutex<Begun>,
}

/// What the open transaction has claimed and leaves to be done.
#[derive(Default)]
struct Begun {
    calls: Vec<(Payment, Place)>,
    /// More is due, or may be.
    is_more_due: bool,
}

impl Orders {
    pub fn new(caller: Arc<Caller>, due: Arc<Notify>) -> Orders {
        Orders { caller, due, begun: Mutex::default() }
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims as many of these new payments as there are places for their calls.
    fn claim(&self, payments: &mut [Payment]) -> Vec<(Payment, Place)> {
        let is_due = |payment: &&mut Payment| payment.state == State::Due;
        let places = self.caller.reserve_for_new(payments.iter_mut().filter(is_due).count());
        let claimed = payments.iter_mut().filter(is_due).zip(places);
        claimed
            .map(|(payment, place)| {
                *payment = payment.attempted(self.caller.claim());
                (payment.clone(), place)
            })
            .collect()
    }
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
        let mut as_new: Vec<Payment> = by_order.values().filter_map(|events| fold(None, events)).collect();
        let mut calls = self.claim(&mut as_new);
        let inserted = store::insert(tx, &as_new).await?;
        calls.retain(|(payment, _)| inserted.contains(payment.order_id.as_str()));
        let is_more_due = calls.len() < by_order.len();
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
        *self.begun() = Begun { calls, is_more_due };
        Ok(())
    }

    fn committed(&self) {
        let Begun { calls, is_more_due } = std::mem::take(&mut *self.begun());
        for (payment, place) in calls {
            self.caller.start(Claimed { payment, was_uncertain: false }, place);
        }
        if is_more_due {
            self.due.notify_one();
        }
    }

    /// What was committed all the same is done by whoever finds its claim run out.
    fn undone(&self) {
        *self.begun() = Begun::default();
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
