use events::{
    Cents, PaymentCaptured, PaymentDeclined, PaymentRefunded, StockRejected, StockReleased, StockReserved,
    TicketReady, TicketStarted,
};
use proptest::prelude::*;

use super::*;

fn id() -> OrderId {
    "o-1".to_owned().try_into().expect("valid")
}

fn received() -> Order {
    Order {
        id: id(),
        customer: "c-1".to_owned().try_into().expect("valid"),
        email: None,
        status: Status::Received,
        cancel_reason: None,
        payment: Payment::Pending,
        stock: Stock::Pending,
        ticket: Ticket::None,
        version: 1,
    }
}

fn outcome(event_type: EventType) -> Data {
    let (order_id, amount, charge_id) = (id(), Cents(450), "ch-1".to_owned());
    match event_type {
        EventType::PaymentCaptured => PaymentCaptured { order_id, amount, charge_id }.into(),
        EventType::PaymentDeclined => PaymentDeclined { order_id, amount, reason: "no funds".into() }.into(),
        EventType::PaymentRefunded => PaymentRefunded { order_id, amount, charge_id }.into(),
        EventType::StockReserved => StockReserved { order_id }.into(),
        EventType::StockRejected => StockRejected { order_id, reason: "sold out".into() }.into(),
        EventType::StockReleased => StockReleased { order_id }.into(),
        EventType::TicketStarted => TicketStarted { order_id }.into(),
        EventType::TicketReady => TicketReady { order_id }.into(),
        said_by_us => panic!("{said_by_us:?} is no outcome"),
    }
}

use EventType::{
    OrderCancelled as CANCELLED, OrderConfirmed as CONFIRMED, OrderReady as READY,
    PaymentCaptured as CAPTURED, PaymentDeclined as DECLINED, PaymentRefunded as REFUNDED,
    StockRejected as REJECTED, StockReleased as RELEASED, StockReserved as RESERVED, TicketReady as FINISHED,
    TicketStarted as STARTED,
};

/// What can happen to one order, how it ends, and what the order API says on the way.
type Story = (&'static [EventType], (Status, Payment, Stock, Ticket), &'static [EventType]);

const STORIES: [Story; 8] = [
    (&[CAPTURED], (Status::Received, Payment::Captured, Stock::Pending, Ticket::None), &[]),
    (
        &[CAPTURED, RESERVED],
        (Status::Confirmed, Payment::Captured, Stock::Reserved, Ticket::None),
        &[CONFIRMED],
    ),
    (
        &[CAPTURED, RESERVED, STARTED],
        (Status::Preparing, Payment::Captured, Stock::Reserved, Ticket::Started),
        &[CONFIRMED],
    ),
    (
        &[CAPTURED, RESERVED, STARTED, FINISHED],
        (Status::Ready, Payment::Captured, Stock::Reserved, Ticket::Ready),
        &[CONFIRMED, READY],
    ),
    (
        &[CAPTURED, RESERVED, FINISHED],
        (Status::Ready, Payment::Captured, Stock::Reserved, Ticket::Ready),
        &[CONFIRMED, READY],
    ),
    (
        &[DECLINED, RESERVED, RELEASED],
        (Status::Cancelled, Payment::Declined, Stock::Released, Ticket::None),
        &[CANCELLED],
    ),
    (
        &[CAPTURED, REJECTED, REFUNDED],
        (Status::Cancelled, Payment::Refunded, Stock::Rejected, Ticket::None),
        &[CANCELLED],
    ),
    (
        &[DECLINED, REJECTED],
        (Status::Cancelled, Payment::Declined, Stock::Rejected, Ticket::None),
        &[CANCELLED],
    ),
];

/// A story in any order, with any of its outcomes told up to three times.
fn any_telling() -> impl Strategy<Value = (usize, Vec<EventType>)> {
    (0..STORIES.len()).prop_flat_map(|story| {
        let outcomes = STORIES[story].0;
        let extra = proptest::sample::subsequence([outcomes, outcomes].concat(), 0..=outcomes.len() * 2);
        let told = extra.prop_map(move |extra| [outcomes.to_vec(), extra].concat()).prop_shuffle();
        (Just(story), told)
    })
}

fn check_steps(order: &Order, steps: &[Step]) {
    let versions: Vec<u64> = steps.iter().map(|step| step.version).collect();
    assert_eq!(versions, (2..=order.version).collect::<Vec<_>>(), "each version is one line");
    assert!(steps.is_sorted_by_key(|step| step.status), "the status never moves backwards: {steps:?}");
    assert_eq!(steps.last().map_or(Status::Received, |step| step.status), order.status);
    assert_eq!(order.status == Status::Cancelled, order.cancel_reason.is_some());
}

fn said(steps: &[Step]) -> Vec<EventType> {
    steps.iter().filter_map(|step| step.says.as_ref()).map(Data::event_type).collect()
}

proptest! {
    #[test]
    fn no_event_can_make_it_panic(events in proptest::collection::vec(testing::arbitrary::event(), 1..12)) {
        let mut order = received();
        let steps: usize = events.iter().map(|event| order.hear(&event.data).len()).sum();
        prop_assert_eq!(order.version, 1 + steps as u64);
    }
}

proptest! {
    #[test]
    fn every_order_of_arrival_ends_the_same((story, told) in any_telling()) {
        let (_, end, says) = STORIES[story];
        let mut order = received();
        let steps: Vec<Step> = told.iter().flat_map(|event_type| order.hear(&outcome(*event_type))).collect();
        prop_assert_eq!((order.status, order.payment, order.stock, order.ticket), end);
        prop_assert_eq!(said(&steps), says);
        check_steps(&order, &steps);
    }

    #[test]
    fn an_expired_order_stays_cancelled_whatever_comes_late((_, told) in any_telling()) {
        let mut order = received();
        let mut steps = order.expire();
        steps.extend(told.iter().flat_map(|event_type| order.hear(&outcome(*event_type))));
        prop_assert_eq!(said(&steps), [CANCELLED]);
        prop_assert_eq!(order.cancel_reason.as_deref(), Some(NOT_SETTLED));
        check_steps(&order, &steps);
    }

    #[test]
    fn no_sequence_of_outcomes_breaks_the_timeline(told in proptest::collection::vec(0..8_usize, 0..30)) {
        let all = [CAPTURED, DECLINED, REFUNDED, RESERVED, REJECTED, RELEASED, STARTED, FINISHED];
        let mut order = received();
        let mut steps: Vec<Step> = told.iter().flat_map(|n| order.hear(&outcome(all[*n]))).collect();
        steps.extend(order.expire());
        check_steps(&order, &steps);
        for event_type in [CONFIRMED, CANCELLED, READY] {
            prop_assert!(said(&steps).iter().filter(|said| **said == event_type).count() <= 1);
        }
        prop_assert!(!(said(&steps).contains(&CONFIRMED) && said(&steps).contains(&CANCELLED)));
    }
}

#[test]
fn the_reason_of_a_failure_is_told_to_the_customer() {
    let mut order = received();
    let steps = order.hear(&outcome(DECLINED));
    assert_eq!(order.cancel_reason.as_deref(), Some("no funds"));
    let Some(Data::OrderCancelled(cancelled)) = &steps[1].says else { panic!("{steps:?}") };
    assert_eq!(cancelled.reason, "no funds");
}

#[test]
fn a_confirmed_order_is_not_expired() {
    let mut order = received();
    order.hear(&outcome(CAPTURED));
    order.hear(&outcome(RESERVED));
    assert_eq!(order.expire(), []);
}
