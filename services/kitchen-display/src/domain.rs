//! What a ticket is and what may happen to it. Events only ever add facts (created, confirmed, cancelled)
//! and the state is computed from the facts, so the order in which they arrive, and how often, cannot
//! matter. Only a barista's bump depends on the state it finds.

use events::{CustomerId, Data, Event, Item, OrderCreated};
use messaging::TraceContext;
use time::OffsetDateTime;

/// Where a ticket stands, as stored, shown and audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not to be made yet: the order is not confirmed, or not even known.
    Pending,
    /// On the board, to be started.
    Waiting,
    /// On the board, somebody makes it.
    Started,
    /// Made. Final: a cancellation that comes later cannot unmake it.
    Ready,
    /// Taken off the board because the order was cancelled.
    Pulled,
}

/// What a barista does with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    Start,
    Finish,
}

/// What the kitchen needs of an OrderCreated.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub customer_id: CustomerId,
    pub items: Vec<Item>,
    pub placed_at: OffsetDateTime,
    pub trace: TraceContext,
}

/// Everything known about one order's ticket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ticket {
    pub order: Option<Order>,
    pub confirmed: bool,
    pub cancelled: bool,
    pub started_at: Option<OffsetDateTime>,
    pub ready_at: Option<OffsetDateTime>,
}

/// What came of a bump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bumped {
    /// To be stored and told to the others.
    Now,
    /// It was so already: repeating a bump is harmless.
    Before,
}

/// Why a ticket cannot be bumped; shown to the barista.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub State);

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Waiting => "waiting",
            State::Started => "started",
            State::Ready => "ready",
            State::Pulled => "pulled",
        }
    }
}

impl Refused {
    pub const fn reason(self) -> &'static str {
        match self.0 {
            State::Pending => "this order is not confirmed yet: wait until its ticket is on the board",
            State::Waiting => "this ticket was not started yet: start it before finishing it",
            State::Started => "this ticket was started already: finish it when it is made",
            State::Ready => "this ticket is finished already",
            State::Pulled => "this order was cancelled: do not make it",
        }
    }
}

impl Ticket {
    pub fn state(&self) -> State {
        if self.ready_at.is_some() {
            State::Ready
        } else if self.cancelled {
            State::Pulled
        } else if self.started_at.is_some() {
            State::Started
        } else if self.confirmed && self.order.is_some() {
            State::Waiting
        } else {
            State::Pending
        }
    }

    /// Adds what an event says. Facts are never taken back, and the first OrderCreated stays.
    pub fn hear(&mut self, event: &Event, trace: &TraceContext) {
        match &event.data {
            Data::OrderCreated(created) if self.order.is_none() => {
                self.order = Some(Order::new(created, event.time, trace));
            }
            Data::OrderConfirmed(_) => self.confirmed = true,
            Data::OrderCancelled(_) => self.cancelled = true,
            _ => {}
        }
    }

    pub fn bump(&mut self, bump: Bump, now: OffsetDateTime) -> Result<Bumped, Refused> {
        match (bump, self.state()) {
            (Bump::Start, State::Waiting) => self.started_at = Some(now),
            (Bump::Finish, State::Started) => self.ready_at = Some(now),
            (Bump::Start, State::Started) | (Bump::Finish, State::Ready) => return Ok(Bumped::Before),
            (_, state) => return Err(Refused(state)),
        }
        Ok(Bumped::Now)
    }
}

impl Order {
    fn new(created: &OrderCreated, placed_at: OffsetDateTime, trace: &TraceContext) -> Order {
        Order {
            customer_id: created.customer_id.clone(),
            items: created.items.clone(),
            placed_at,
            trace: trace.clone(),
        }
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
