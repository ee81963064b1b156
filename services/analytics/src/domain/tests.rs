//! However the events are doubled, shuffled and cut into batches, the figures come out the same.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use events::{
    CustomerId, EventId, OrderCancelled, OrderConfirmed, OrderCreated, OrderId, OrderReady, PaymentCaptured,
    PaymentRefunded, StockReserved,
};
use proptest::prelude::*;
use time::Duration;

use super::*;

const OPENING: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn order_id(n: usize) -> OrderId {
    format!("order-{n}").try_into().unwrap()
}

fn customer() -> CustomerId {
    "cust-1".to_owned().try_into().unwrap()
}

fn event(data: impl Into<Data>, millis: i64) -> Event {
    let data = data.into();
    let id = EventId::try_from(format!("{}:{}", data.event_type().as_str(), data.order_id())).unwrap();
    Event { id, time: OPENING + Duration::milliseconds(millis), sequence: None, data }
}

fn created(n: usize, items: &[(&str, u32)]) -> Event {
    let item = |&(name, quantity): &(&str, u32)| Item {
        name: name.to_owned(),
        sku: None,
        price: Cents(450),
        quantity,
    };
    let items: Vec<Item> = items.iter().map(item).collect();
    let total = items.iter().map(|item| item.price * item.quantity).sum();
    let order = OrderCreated { order_id: order_id(n), customer_id: customer(), email: None, items, total };
    event(order, 1_000)
}

fn confirmed(n: usize) -> Event {
    event(OrderConfirmed { order_id: order_id(n), customer_id: customer() }, 2_000)
}

fn cancelled(n: usize) -> Event {
    let reason = "declined".to_owned();
    event(OrderCancelled { order_id: order_id(n), customer_id: customer(), email: None, reason }, 3_000)
}

fn ready(n: usize) -> Event {
    let millis = 4_001 + n as i64;
    event(OrderReady { order_id: order_id(n), customer_id: customer(), email: None }, millis)
}

fn captured(n: usize) -> Event {
    event(PaymentCaptured { order_id: order_id(n), amount: Cents(450), charge_id: "c".to_owned() }, 1_500)
}

fn refunded(n: usize) -> Event {
    event(PaymentRefunded { order_id: order_id(n), amount: Cents(450), charge_id: "c".to_owned() }, 3_500)
}

type Facts = BTreeMap<OrderId, Fact>;

fn learn(facts: &mut Facts, events: &[Event]) {
    for event in events {
        facts.entry(event.order_id().clone()).or_default().learn(event);
    }
}

fn recompute(facts: &Facts) -> Tally {
    let mut tally = Tally::default();
    facts.values().for_each(|fact| tally += fact);
    tally
}

fn tally(events: &[Event]) -> Tally {
    let mut facts = Facts::new();
    learn(&mut facts, events);
    recompute(&facts)
}

#[test]
fn a_day_in_the_shop() {
    let day = tally(&[
        created(1, &[("Latte", 2), ("Mocha", 1)]),
        captured(1),
        confirmed(1),
        ready(1),
        created(2, &[("Latte", 1)]),
        captured(2),
        cancelled(2),
        refunded(2),
    ]);
    let totals = Totals {
        orders: 2,
        confirmed: 1,
        cancelled: 1,
        ready: 1,
        gross: Cents(1_350),
        captured: Cents(900),
        refunded: Cents(450),
        micros_to_ready: 3_002_000,
        timed: 1,
    };
    assert_eq!(day.totals, totals);
    let sold = |quantity| Sold { quantity, cents: 450 * quantity };
    assert_eq!(day.items, [("Latte".to_owned(), sold(2)), ("Mocha".to_owned(), sold(1))].into());
}

#[test]
fn cancelled_before_created_is_never_sold() {
    let figures = tally(&[cancelled(1), created(1, &[("Latte", 1)])]);
    assert_eq!((figures.totals.orders, figures.totals.cancelled, figures.totals.gross), (1, 1, Cents(0)));
    assert!(figures.items.is_empty());
}

#[test]
fn what_is_counted_is_what_the_database_keeps() {
    let mut late = created(1, &[("Latte", 1)]);
    late.time += Duration::nanoseconds(1_999);
    let mut fact = Fact::default();
    fact.learn(&late);
    assert_eq!(fact.created.unwrap().at, OPENING + Duration::microseconds(1_000_001));
}

#[test]
fn forged_times_and_amounts_stop_nobody() {
    let mut facts = Facts::new();
    for n in 0..200 {
        let item = Item { name: "Latte".to_owned(), sku: None, price: Cents::MAX, quantity: 10_000 };
        let items = vec![item; 500];
        let order = OrderCreated {
            order_id: order_id(n),
            customer_id: customer(),
            email: None,
            items,
            total: Cents::MAX,
        };
        let mut created = event(order, 0);
        created.time = time::macros::datetime!(0000-01-01 0:00 UTC);
        let mut ready = ready(n);
        ready.time = time::macros::datetime!(9999-12-31 23:59 UTC);
        learn(&mut facts, &[created, ready]);
    }
    assert_eq!(recompute(&facts).totals.timed, 200);
}

/// Some of each order's events, each up to three times, in any order.
fn any_events() -> impl Strategy<Value = Vec<Event>> {
    let name = prop_oneof![Just("Latte"), Just("Mocha"), Just("Flat White")];
    let items = proptest::collection::vec((name, 1..4_u32), 1..4);
    let order = (items, proptest::array::uniform7(0..4_usize));
    proptest::collection::vec(order, 1..8)
        .prop_map(|orders| {
            let mut events = Vec::new();
            for (n, (items, copies)) in orders.into_iter().enumerate() {
                let of_no_interest = event(StockReserved { order_id: order_id(n) }, 1_200);
                let all = [
                    created(n, &items),
                    captured(n),
                    of_no_interest,
                    confirmed(n),
                    cancelled(n),
                    refunded(n),
                    ready(n),
                ];
                for (event, copies) in all.into_iter().zip(copies) {
                    events.extend(std::iter::repeat_n(event, copies));
                }
            }
            events
        })
        .prop_shuffle()
}

proptest! {
    #[test]
    fn no_event_can_make_it_panic(events in proptest::collection::vec(testing::arbitrary::event(), 1..12)) {
        let (mut fact, mut tally) = (Fact::default(), Tally::default());
        for event in &events {
            tally -= &fact;
            fact.learn(event);
            tally += &fact;
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_arrival_gives_the_same_figures(
        (events, shuffled) in any_events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
    ) {
        prop_assert_eq!(tally(&events), tally(&shuffled));
        let mut once = events.clone();
        once.sort_by(|a, b| a.id.cmp(&b.id));
        once.dedup();
        prop_assert_eq!(tally(&events), tally(&once));
    }

    #[test]
    fn changes_batch_by_batch_add_up_to_a_recomputation(events in any_events(), batch in 1..10_usize) {
        let (mut facts, mut sum) = (Facts::new(), Tally::default());
        for batch in events.chunks(batch) {
            let mut change = Tally::default();
            facts.values().for_each(|fact| change -= fact);
            learn(&mut facts, batch);
            facts.values().for_each(|fact| change += fact);
            sum.totals.combine(change.totals, |a, b| a + b);
            for (name, moved) in change.items {
                let sold = sum.items.entry(name).or_default();
                *sold = Sold { quantity: sold.quantity + moved.quantity, cents: sold.cents + moved.cents };
            }
        }
        sum.items.retain(|_, sold| *sold != Sold::default());
        prop_assert_eq!(sum, recompute(&facts));
    }

    #[test]
    fn only_events_of_interest_teach_anything(events in any_events()) {
        for event in &events {
            let mut fact = Fact::default();
            fact.learn(event);
            prop_assert_eq!(fact != Fact::default(), is_of_interest(&event.data));
        }
    }
}
