//! What analytics knows of an order, and what that adds to the figures.
//!
//! A fact only ever grows: nothing heard takes back what another event said. So the order in which an
//! order's events arrive cannot matter, nor how often each comes. And a figure is never counted up by an
//! event; it moves by what the fact adds now less what it added before.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use events::{Cents, Data, Event, Item};
use time::OffsetDateTime;

#[cfg(test)]
mod tests;

/// All that is known of one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    pub created: Option<Created>,
    pub confirmed: bool,
    pub cancelled: bool,
    pub captured: Cents,
    pub refunded: Cents,
    pub ready_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    pub at: OffsetDateTime,
    pub total: Cents,
    pub items: Vec<Item>,
}

/// Whether [`Fact::learn`] can learn anything from it.
pub fn is_of_interest(data: &Data) -> bool {
    matches!(
        data,
        Data::OrderCreated(_)
            | Data::OrderConfirmed(_)
            | Data::OrderCancelled(_)
            | Data::OrderReady(_)
            | Data::PaymentCaptured(_)
            | Data::PaymentRefunded(_)
    )
}

impl Fact {
    /// An order is ready when OrderReady says so, not TicketReady: it is stamped by the same clock as
    /// OrderCreated, so that the time between them owes nothing to two clocks that disagree.
    pub fn learn(&mut self, event: &Event) {
        let at = as_stored(event.time);
        match &event.data {
            Data::OrderCreated(order) => {
                self.created.get_or_insert_with(|| Created {
                    at,
                    total: order.total,
                    items: order.items.clone(),
                });
            }
            Data::OrderConfirmed(_) => self.confirmed = true,
            Data::OrderCancelled(_) => self.cancelled = true,
            Data::OrderReady(_) => self.ready_at = Some(self.ready_at.map_or(at, |known| known.min(at))),
            Data::PaymentCaptured(payment) => self.captured = self.captured.max(payment.amount),
            Data::PaymentRefunded(payment) => self.refunded = self.refunded.max(payment.amount),
            _ => {}
        }
    }

    fn micros_to_ready(&self) -> Option<i64> {
        let time = self.ready_at? - self.created.as_ref()?.at;
        i64::try_from(time.whole_microseconds()).ok()
    }

    /// What was sold: of an order that exists and is not cancelled.
    fn sale(&self) -> Option<&Created> {
        self.created.as_ref().filter(|_| !self.cancelled)
    }
}

/// The database keeps microseconds. What is counted must be what is kept, or the next difference is wrong.
fn as_stored(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_microsecond(time.microsecond()).expect("a time's own microsecond is in range")
}

/// Sums over orders, or a change of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub orders: i64,
    pub confirmed: i64,
    pub cancelled: i64,
    pub ready: i64,
    pub gross: Cents,
    pub captured: Cents,
    pub refunded: Cents,
    pub micros_to_ready: i64,
    /// Orders whose time to ready is known.
    pub timed: i64,
}

impl Totals {
    /// What one order adds.
    fn of(fact: &Fact) -> Totals {
        let time = fact.micros_to_ready();
        Totals {
            orders: fact.created.is_some().into(),
            confirmed: fact.confirmed.into(),
            cancelled: fact.cancelled.into(),
            ready: fact.ready_at.is_some().into(),
            gross: fact.sale().map_or(Cents(0), |order| order.total),
            captured: fact.captured,
            refunded: fact.refunded,
            micros_to_ready: time.unwrap_or_default(),
            timed: time.is_some().into(),
        }
    }

    fn combine(&mut self, other: Totals, with: impl Fn(i64, i64) -> i64) {
        self.orders = with(self.orders, other.orders);
        self.confirmed = with(self.confirmed, other.confirmed);
        self.cancelled = with(self.cancelled, other.cancelled);
        self.ready = with(self.ready, other.ready);
        self.gross.0 = with(self.gross.0, other.gross.0);
        self.captured.0 = with(self.captured.0, other.captured.0);
        self.refunded.0 = with(self.refunded.0, other.refunded.0);
        self.micros_to_ready = with(self.micros_to_ready, other.micros_to_ready);
        self.timed = with(self.timed, other.timed);
    }
}

/// How much of one item was sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    pub quantity: i64,
    pub cents: i64,
}

/// Everything that is derived from the facts, or a change of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub totals: Totals,
    pub items: BTreeMap<String, Sold>,
}

impl Tally {
    fn combine(&mut self, fact: &Fact, with: impl Fn(i64, i64) -> i64) {
        self.totals.combine(Totals::of(fact), &with);
        for item in fact.sale().iter().flat_map(|order| &order.items) {
            let sold = self.items.entry(item.name.clone()).or_default();
            sold.quantity = with(sold.quantity, item.quantity.into());
            sold.cents = with(sold.cents, (item.price * item.quantity).0);
        }
    }
}

// Sums saturate: only a forged event can come near the bounds, and it must not stop the others.

impl AddAssign<&Fact> for Tally {
    fn add_assign(&mut self, fact: &Fact) {
        self.combine(fact, i64::saturating_add);
    }
}

impl SubAssign<&Fact> for Tally {
    fn sub_assign(&mut self, fact: &Fact) {
        self.combine(fact, i64::saturating_sub);
    }
}
