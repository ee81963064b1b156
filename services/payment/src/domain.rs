//! What an order's payment is and how it changes, as two pure functions: what an event means for it
//! ([`hear`]), and what the end of a call to the card processor means ([`Payment::learn`]).
//!
//! The rule that keeps the money right: while a charge may have been made whose answer nobody has heard
//! (`uncertain`), a cancelled order is not let go. The charge is asked for again under the same key until its
//! answer is known, and then refunded. An order of nothing is charged like any other (the processor books
//! it), so that it needs no path of its own.

use std::time::Duration;

use events::{Cents, CustomerId, Data, Event, OrderId, PaymentCaptured, PaymentDeclined, PaymentRefunded};
use messaging::TraceContext;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be charged.
    Due,
    /// Cancelled, while a charge may have been made: find out.
    Cancelling,
    Captured,
    Declined,
    /// Captured and then cancelled.
    RefundDue,
    Refunded,
    /// Cancelled before anything was charged; perhaps before it was created.
    Cancelled,
}

/// When something is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Never,
    In(Duration),
    /// As it is: at the end of the running attempt's claim, or of its wait.
    Unchanged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    pub amount: Cents,
    pub state: State,
    pub charge_id: Option<String>,
    pub uncertain: bool,
    /// Number of the latest attempt.
    pub attempts: i32,
    pub due: Due,
    /// Of the event that made the work due; goes on to the processor and to what is said.
    pub trace: TraceContext,
}

/// How a call to the card processor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Captured {
        charge_id: String,
    },
    Declined {
        reason: String,
    },
    Refunded,
    /// Nobody knows whether it happened: no answer in time, or one that makes no sense.
    Unknown,
    /// It certainly did not happen: the processor could not be reached.
    NotReached,
    /// The processor refuses the request for good; a defect on our side or theirs.
    Refused {
        why: String,
    },
}

/// One call: what was true before, and how it ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub order_id: OrderId,
    pub number: i32,
    /// Whether an earlier attempt had already left it open.
    pub was_uncertain: bool,
    pub outcome: Outcome,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Short, because the circuit already keeps a dead processor from being hammered, and orders should flow
/// within a second or two of its return.
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// A refused refund is money owed, and a refused charge may follow one that was made: both are tried for ever, and every try
/// logs an error for a person to see.
const REFUSED_RETRY: Duration = Duration::from_secs(30);

/// The payment after an event about its order, or `None` when the event changes nothing.
pub fn hear(payment: Option<&Payment>, event: &Event, trace: &TraceContext) -> Option<Payment> {
    match (&event.data, payment) {
        (Data::OrderCreated(order), None) => Some(Payment {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            amount: order.total,
            state: State::Due,
            charge_id: None,
            uncertain: false,
            attempts: 0,
            due: Due::In(Duration::ZERO),
            trace: trace.clone(),
        }),
        // The order was cancelled first: only its particulars are filled in.
        (Data::OrderCreated(order), Some(payment)) => {
            let known =
                Payment { customer_id: order.customer_id.clone(), amount: order.total, ..payment.clone() };
            (payment.state == State::Cancelled && known != *payment).then_some(known)
        }
        (Data::OrderCancelled(order), None) => Some(Payment {
            order_id: order.order_id.clone(),
            customer_id: order.customer_id.clone(),
            amount: Cents(0),
            state: State::Cancelled,
            charge_id: None,
            uncertain: false,
            attempts: 0,
            due: Due::Never,
            trace: trace.clone(),
        }),
        (Data::OrderCancelled(_), Some(payment)) => cancel(payment, trace),
        _ => None,
    }
}

fn cancel(payment: &Payment, trace: &TraceContext) -> Option<Payment> {
    let payment = payment.clone();
    match payment.state {
        State::Due if payment.uncertain => {
            Some(Payment { state: State::Cancelling, due: Due::Unchanged, ..payment })
        }
        State::Due => Some(Payment { state: State::Cancelled, due: Due::Never, ..payment }),
        State::Captured => Some(Payment {
            state: State::RefundDue,
            due: Due::In(Duration::ZERO),
            trace: trace.clone(),
            ..payment
        }),
        State::Cancelling | State::Declined | State::RefundDue | State::Refunded | State::Cancelled => None,
    }
}

impl Payment {
    /// The payment as it is while the next attempt is under way. From here on a charge may be made, so it is uncertain until the
    /// answer is written down; and if nobody writes one, another attempt is due when the claim runs out.
    pub fn attempted(&self, claim: Duration) -> Payment {
        Payment { uncertain: true, attempts: self.attempts + 1, due: Due::In(claim), ..self.clone() }
    }

    /// The payment after a call, and what is to be said about it. `None` when the answer is old news.
    ///
    /// Facts (captured, declined, refunded) count whichever attempt brings them; the failure of an attempt
    /// that another one has overtaken says nothing.
    pub fn learn(self, attempt: &Attempt) -> Option<(Payment, Option<Data>)> {
        use State::{Cancelled, Cancelling, Captured, Declined, Due as ToCharge, RefundDue, Refunded};
        let is_latest = attempt.number == self.attempts;
        match (self.state, &attempt.outcome) {
            (ToCharge, Outcome::Captured { charge_id }) => {
                Some(self.settled(Captured, Some(charge_id)).saying(captured))
            }
            (Cancelling, Outcome::Captured { charge_id }) => {
                let owed = self.settled(RefundDue, Some(charge_id));
                Some(Payment { due: Due::In(Duration::ZERO), ..owed }.saying(captured))
            }
            (ToCharge | Cancelling, Outcome::Declined { reason }) => {
                Some(self.settled(Declined, None).saying(|payment| declined(payment, reason)))
            }
            (ToCharge | Cancelling, Outcome::Refused { .. }) if is_latest && !attempt.was_uncertain => {
                let reason = "the card could not be charged";
                Some(self.settled(Declined, None).saying(|payment| declined(payment, reason)))
            }
            (RefundDue, Outcome::Refunded) => Some(self.settled(Refunded, None).saying(refunded)),
            (ToCharge | Cancelling | RefundDue, Outcome::Refused { .. }) if is_latest => {
                Some((Payment { due: Due::In(REFUSED_RETRY), ..self }, None))
            }
            (Cancelling, Outcome::NotReached) if is_latest && !attempt.was_uncertain => {
                Some((self.settled(Cancelled, None), None))
            }
            (ToCharge | Cancelling | RefundDue, Outcome::NotReached | Outcome::Unknown) if is_latest => {
                let uncertain = attempt.was_uncertain || attempt.outcome == Outcome::Unknown;
                let due = Due::In(retry_delay(attempt.number));
                Some((Payment { uncertain, due, ..self }, None))
            }
            _ => None,
        }
    }

    fn settled(self, state: State, charge_id: Option<&String>) -> Payment {
        let charge_id = charge_id.cloned().or(self.charge_id);
        Payment { state, charge_id, uncertain: false, due: Due::Never, ..self }
    }

    fn saying(self, what: impl FnOnce(&Payment) -> Data) -> (Payment, Option<Data>) {
        let data = what(&self);
        (self, Some(data))
    }
}

fn captured(payment: &Payment) -> Data {
    let Payment { order_id, amount, charge_id, .. } = payment.clone();
    PaymentCaptured { order_id, amount, charge_id: charge_id.unwrap_or_default() }.into()
}

fn refunded(payment: &Payment) -> Data {
    let Payment { order_id, amount, charge_id, .. } = payment.clone();
    PaymentRefunded { order_id, amount, charge_id: charge_id.unwrap_or_default() }.into()
}

/// The reason is shown to the customer.
fn declined(payment: &Payment, reason: &str) -> Data {
    let Payment { order_id, amount, .. } = payment.clone();
    PaymentDeclined { order_id, amount, reason: reason.to_owned() }.into()
}

fn retry_delay(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(16);
    FIRST_RETRY.saturating_mul(1 << doublings).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests;
