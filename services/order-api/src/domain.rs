//! What an order is and how what it hears changes it. Pure: no database, no broker, no clock.
//!
//! Outcomes arrive late, twice and in any order, so the order keeps what it knows about its payment, its
//! stock and its ticket apart, each of which only moves forward, and derives its status from the three. The
//! status itself never moves backwards, and every version of the order is one line of its timeline.

use std::fmt;
use std::str::FromStr;

use events::{CustomerId, Data, EventType, OrderCancelled, OrderConfirmed, OrderId, OrderReady};

/// The reason shown to a customer whose order was not settled by its deadline.
pub const NOT_SETTLED: &str = "not settled in time";

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// As stored and as shown.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(word: &str) -> Result<$name, String> {
                $name::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| {
                    let words: Vec<&str> = $name::ALL.iter().map(|value| value.as_str()).collect();
                    format!("is {word:?}, one of {} is expected", words.join(", "))
                })
            }
        }
    };
}

words! {
    /// In the order in which an order passes through them. The last two are final.
    Status {
        Received = "received", Confirmed = "confirmed", Preparing = "preparing", Ready = "ready",
        Cancelled = "cancelled",
    }
}
words! { Payment { Pending = "pending", Captured = "captured", Declined = "declined", Refunded = "refunded" } }
words! { Stock { Pending = "pending", Reserved = "reserved", Rejected = "rejected", Released = "released" } }
words! { Ticket { None = "none", Started = "started", Ready = "ready" } }

/// What decides about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub customer: CustomerId,
    pub email: Option<String>,
    pub status: Status,
    pub cancel_reason: Option<String>,
    pub payment: Payment,
    pub stock: Stock,
    pub ticket: Ticket,
    pub version: u64,
}

/// One version of an order: a line of its timeline, and the event to be sent about it, if there is one. The
/// event's `sequence` is the version.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub version: u64,
    pub what: EventType,
    pub status: Status,
    pub detail: Option<String>,
    pub says: Option<Data>,
}

impl Order {
    /// Takes in what another service says about this order. Nothing follows from hearing it again; what
    /// comes too late to matter is noted in the timeline and changes nothing.
    pub fn hear(&mut self, outcome: &Data) -> Vec<Step> {
        let (news, failure) = match outcome {
            Data::PaymentCaptured(_) => (self.learn_payment(Payment::Captured), None),
            Data::PaymentDeclined(data) => (self.learn_payment(Payment::Declined), Some(&data.reason)),
            Data::PaymentRefunded(_) => (self.learn_payment(Payment::Refunded), None),
            Data::StockReserved(_) => (self.learn_stock(Stock::Reserved), None),
            Data::StockRejected(data) => (self.learn_stock(Stock::Rejected), Some(&data.reason)),
            Data::StockReleased(_) => (self.learn_stock(Stock::Released), None),
            Data::TicketStarted(_) => (self.learn_ticket(Ticket::Started), None),
            Data::TicketReady(_) => (self.learn_ticket(Ticket::Ready), None),
            // The order API says these itself.
            Data::OrderCreated(_)
            | Data::OrderConfirmed(_)
            | Data::OrderCancelled(_)
            | Data::OrderReady(_) => {
                return Vec::new();
            }
        };
        let mut steps = Vec::new();
        match news {
            News::Known => return steps,
            News::New if outcome.event_type() == EventType::TicketStarted => self.prepare(),
            News::New | News::TooLate => {}
        }
        steps.push(self.step(outcome.event_type(), failure.cloned(), None));
        match failure {
            Some(reason) if news == News::New => steps.extend(self.cancel(reason)),
            _ => self.move_on(&mut steps),
        }
        steps
    }

    /// The deadline has passed.
    pub fn expire(&mut self) -> Vec<Step> {
        self.cancel(NOT_SETTLED).into_iter().collect()
    }

    /// An order that is confirmed is past cancelling: both of its conditions were met.
    fn cancel(&mut self, reason: &str) -> Option<Step> {
        if self.status != Status::Received {
            return None;
        }
        self.status = Status::Cancelled;
        self.cancel_reason = Some(reason.to_owned());
        let says = OrderCancelled {
            order_id: self.id.clone(),
            customer_id: self.customer.clone(),
            email: self.email.clone(),
            reason: reason.to_owned(),
        };
        Some(self.step(EventType::OrderCancelled, Some(reason.to_owned()), Some(says.into())))
    }

    /// Goes as far forward as what is known allows: several steps when outcomes overtook each other.
    fn move_on(&mut self, steps: &mut Vec<Step>) {
        let settled = self.payment == Payment::Captured && self.stock == Stock::Reserved;
        if self.status == Status::Received && settled {
            self.status = Status::Confirmed;
            self.prepare();
            let says = OrderConfirmed { order_id: self.id.clone(), customer_id: self.customer.clone() };
            steps.push(self.step(EventType::OrderConfirmed, None, Some(says.into())));
        }
        if matches!(self.status, Status::Confirmed | Status::Preparing) && self.ticket == Ticket::Ready {
            self.status = Status::Ready;
            let says = OrderReady {
                order_id: self.id.clone(),
                customer_id: self.customer.clone(),
                email: self.email.clone(),
            };
            steps.push(self.step(EventType::OrderReady, None, Some(says.into())));
        }
    }

    fn prepare(&mut self) {
        if self.status == Status::Confirmed && self.ticket == Ticket::Started {
            self.status = Status::Preparing;
        }
    }

    fn step(&mut self, what: EventType, detail: Option<String>, says: Option<Data>) -> Step {
        self.version += 1;
        Step { version: self.version, what, status: self.status, detail, says }
    }

    fn learn_payment(&mut self, heard: Payment) -> News {
        learn(&mut self.payment, heard, |payment| match payment {
            Payment::Pending => 0,
            Payment::Captured | Payment::Declined => 1,
            Payment::Refunded => 2,
        })
    }

    fn learn_stock(&mut self, heard: Stock) -> News {
        learn(&mut self.stock, heard, |stock| match stock {
            Stock::Pending => 0,
            Stock::Reserved | Stock::Rejected => 1,
            Stock::Released => 2,
        })
    }

    fn learn_ticket(&mut self, heard: Ticket) -> News {
        learn(&mut self.ticket, heard, |ticket| ticket as u8)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    New,
    /// Heard before.
    Known,
    /// Something that comes after it was heard before it, or something that contradicts it.
    TooLate,
}

fn learn<T: Copy + PartialEq>(known: &mut T, heard: T, rank: impl Fn(T) -> u8) -> News {
    if heard == *known {
        News::Known
    } else if rank(heard) > rank(*known) {
        *known = heard;
        News::New
    } else {
        News::TooLate
    }
}

#[cfg(test)]
mod tests;
