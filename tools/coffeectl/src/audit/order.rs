//! Orders as the order API keeps them: what everybody else's tables are compared with.

use std::collections::HashMap;
use std::fmt;

use events::Item;

pub type Orders = HashMap<String, Order>;

#[derive(Clone, Debug)]
pub struct Order {
    pub customer: String,
    pub items: Vec<Item>,
    pub total_cents: i64,
    pub status: Status,
    /// Young enough for its outbox rows to be there still.
    pub in_outbox: bool,
}

/// In the order in which they follow each other; a cancelled order was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Received,
    Confirmed,
    Preparing,
    Ready,
    Cancelled,
}

impl Status {
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Received, Status::Confirmed, Status::Preparing, Status::Ready, Status::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Received => "received",
            Status::Confirmed => "confirmed",
            Status::Preparing => "preparing",
            Status::Ready => "ready",
            Status::Cancelled => "cancelled",
        }
    }

    /// Paid for and reserved: confirmed, or further.
    pub fn is_confirmed(self) -> bool {
        matches!(self, Status::Confirmed | Status::Preparing | Status::Ready)
    }

    /// Whether an order may be `next` after it was `self`; staying is not moving.
    pub fn may_become(self, next: Status) -> bool {
        match (self, next) {
            (Status::Received, _) => true,
            (Status::Cancelled, next) => next == Status::Cancelled,
            (_, Status::Cancelled) => false,
            (before, after) => before <= after,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Orders for the tests of the checks.
#[cfg(test)]
pub mod sample {
    use events::Cents;

    use super::*;

    pub fn order(status: Status) -> Order {
        let item = |name: &str, sku: &str, cents, quantity| Item {
            name: name.into(),
            sku: Some(sku.into()),
            price: Cents(cents),
            quantity,
        };
        Order {
            customer: "cust-1".into(),
            items: vec![item("Latte", "latte", 450, 2), item("Espresso", "espresso", 280, 1)],
            total_cents: 1180,
            status,
            in_outbox: true,
        }
    }

    pub fn orders(statuses: &[(&str, Status)]) -> Orders {
        statuses.iter().map(|(id, status)| ((*id).to_owned(), order(*status))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_goes_forward_or_ends() {
        use Status::*;
        for (before, after) in
            [(Received, Confirmed), (Received, Cancelled), (Confirmed, Ready), (Confirmed, Confirmed)]
        {
            assert!(before.may_become(after), "{before} to {after}");
        }
        for (before, after) in
            [(Confirmed, Received), (Ready, Preparing), (Cancelled, Received), (Confirmed, Cancelled)]
        {
            assert!(!before.may_become(after), "{before} to {after}");
        }
    }
}
