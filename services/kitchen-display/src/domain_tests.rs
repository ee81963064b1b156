//! Every order of arrival and every duplication of an order's events ends in the same ticket.

use events::{Cents, OrderCancelled, OrderConfirmed, OrderId};
use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2024-03-15 10:30 UTC);

fn event(kind: usize) -> Event {
    let order_id = || OrderId::try_from("order-1".to_owned()).expect("valid");
    let customer_id = || CustomerId::try_from("cust-1".to_owned()).expect("valid");
    let data = match kind {
        0 => {
            let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(450), quantity: 2 };
            let (items, total) = (vec![item], Cents(900));
            Data::from(OrderCreated {
                order_id: order_id(),
                customer_id: customer_id(),
                email: None,
                items,
                total,
            })
        }
        1 => OrderConfirmed { order_id: order_id(), customer_id: customer_id() }.into(),
        _ => {
            let reason = "out of milk".to_owned();
            OrderCancelled { order_id: order_id(), customer_id: customer_id(), email: None, reason }.into()
        }
    };
    Event { time: NOW, ..Event::new(data, None) }
}

fn hear(ticket: &mut Ticket, kinds: &[usize]) {
    let trace =
        TraceContext::from_parts(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None);
    kinds.iter().for_each(|kind| ticket.hear(&event(*kind), &trace));
}

fn after(kinds: &[usize]) -> Ticket {
    let mut ticket = Ticket::default();
    hear(&mut ticket, kinds);
    ticket
}

#[test]
fn a_ticket_is_live_once_its_order_is_known_and_confirmed() {
    let cases: [(&[usize], State); 7] = [
        (&[], State::Pending),
        (&[0], State::Pending),
        (&[1], State::Pending),
        (&[0, 1], State::Waiting),
        (&[1, 0], State::Waiting),
        (&[2], State::Pulled),
        (&[2, 0, 1], State::Pulled),
    ];
    for (kinds, state) in cases {
        assert_eq!(after(kinds).state(), state, "{kinds:?}");
    }
}

#[test]
fn a_bump_goes_forward_one_step_and_may_be_repeated() {
    let mut ticket = after(&[0, 1]);
    assert_eq!(ticket.bump(Bump::Finish, NOW), Err(Refused(State::Waiting)));
    assert_eq!(ticket.bump(Bump::Start, NOW), Ok(Bumped::Now));
    assert_eq!(ticket.bump(Bump::Start, NOW), Ok(Bumped::Before));
    assert_eq!(ticket.bump(Bump::Finish, NOW), Ok(Bumped::Now));
    assert_eq!(ticket.bump(Bump::Finish, NOW), Ok(Bumped::Before));
    assert_eq!(ticket.bump(Bump::Start, NOW), Err(Refused(State::Ready)));
}

#[test]
fn a_cancelled_order_is_pulled_even_when_started_but_not_when_ready() {
    let mut started = after(&[0, 1]);
    started.bump(Bump::Start, NOW).expect("waiting");
    let mut ready = started.clone();
    hear(&mut started, &[2]);
    assert_eq!(started.state(), State::Pulled);
    assert_eq!(started.bump(Bump::Finish, NOW), Err(Refused(State::Pulled)));

    ready.bump(Bump::Finish, NOW).expect("started");
    hear(&mut ready, &[2]);
    assert_eq!(ready.state(), State::Ready);
}

proptest! {
    #[test]
    fn no_event_can_make_it_panic(events in proptest::collection::vec(testing::arbitrary::event(), 1..12)) {
        let mut ticket = Ticket::default();
        for event in &events {
            ticket.hear(event, &TraceContext::from_parts(None, None));
            let _ = ticket.bump(Bump::Start, event.time);
        }
    }
}

proptest! {
    #[test]
    fn every_order_of_arrival_and_every_duplicate_ends_the_same(
        kinds in proptest::collection::vec(0..3usize, 0..12)
    ) {
        let mut once = kinds.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(after(&kinds), after(&once));
    }

    #[test]
    fn a_ticket_never_moves_backwards(steps in proptest::collection::vec(0..5usize, 0..30)) {
        let rank = |state| match state {
            State::Pending => 0,
            State::Waiting => 1,
            State::Started => 2,
            State::Ready | State::Pulled => 3,
        };
        let mut ticket = Ticket::default();
        for step in steps {
            let before = ticket.state();
            match step {
                3 => drop(ticket.bump(Bump::Start, NOW)),
                4 => drop(ticket.bump(Bump::Finish, NOW)),
                kind => hear(&mut ticket, &[kind]),
            }
            prop_assert!(rank(ticket.state()) >= rank(before));
            if rank(before) == 3 {
                prop_assert_eq!(ticket.state(), before);
            }
        }
    }
}
