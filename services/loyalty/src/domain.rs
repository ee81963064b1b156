//! What the loyalty programme decides: from an order's award and an event about the order follows the new
//! award. A balance is never decided about; it moves by the difference between the award that was and the
//! award that is, so it cannot drift from their sum.

use events::{Cents, CustomerId, Data};

const CENTS_PER_POINT: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Awarded,
    /// Awarded, and cancelled afterwards.
    TakenBack,
    /// Cancelled before we heard of the order: it will never be awarded.
    Cancelled,
}

impl State {
    const ALL: [State; 3] = [State::Awarded, State::TakenBack, State::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Awarded => "awarded",
            State::TakenBack => "taken_back",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Award {
    pub customer: CustomerId,
    pub points: i64,
    pub state: State,
}

impl Award {
    /// What it adds to the customer's balance.
    pub fn counts(&self) -> i64 {
        if self.state == State::Awarded { self.points } else { 0 }
    }
}

/// One point for each full currency unit.
pub fn points_for(total: Cents) -> i64 {
    total.0 / CENTS_PER_POINT
}

/// `None` when the event changes nothing: it is a duplicate, came too late, or is of no interest.
pub fn apply(current: Option<&Award>, event: &Data) -> Option<Award> {
    match (event, current) {
        (Data::OrderCreated(order), None) => Some(Award {
            customer: order.customer_id.clone(),
            points: points_for(order.total),
            state: State::Awarded,
        }),
        (Data::OrderCancelled(order), None) => {
            Some(Award { customer: order.customer_id.clone(), points: 0, state: State::Cancelled })
        }
        (Data::OrderCancelled(_), Some(award)) if award.state == State::Awarded => {
            Some(Award { state: State::TakenBack, ..award.clone() })
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use events::{OrderCancelled, OrderCreated, OrderId};
    use proptest::prelude::*;

    use super::*;

    fn order_id(n: usize) -> OrderId {
        format!("order-{n}").try_into().unwrap()
    }

    fn customer(n: usize) -> CustomerId {
        format!("cust-{}", n % 3).try_into().unwrap()
    }

    fn created(n: usize, cents: i64) -> Data {
        let (order_id, customer_id, total) = (order_id(n), customer(n), Cents(cents));
        OrderCreated { order_id, customer_id, email: None, items: Vec::new(), total }.into()
    }

    fn cancelled(n: usize) -> Data {
        let (order_id, customer_id, reason) = (order_id(n), customer(n), "declined".to_owned());
        OrderCancelled { order_id, customer_id, email: None, reason }.into()
    }

    /// Balances after these events, moved by differences as the store does.
    fn balances(events: &[Data]) -> BTreeMap<CustomerId, i64> {
        let (mut awards, mut balances) = (BTreeMap::new(), BTreeMap::new());
        for event in events {
            let current: Option<&Award> = awards.get(event.order_id());
            if let Some(award) = apply(current, event) {
                let before = current.map_or(0, Award::counts);
                *balances.entry(award.customer.clone()).or_insert(0) += award.counts() - before;
                awards.insert(event.order_id().clone(), award);
            }
        }
        balances
    }

    #[test]
    fn a_point_is_given_for_each_full_unit() {
        assert_eq!([0, 99, 100, 450, 999, 1_000].map(|cents| points_for(Cents(cents))), [0, 0, 1, 4, 9, 10]);
    }

    #[test]
    fn an_order_cancelled_first_is_never_awarded() {
        let balances = balances(&[cancelled(1), created(1, 900), created(1, 900)]);
        assert_eq!(balances[&customer(1)], 0);
    }

    /// Totals of orders (with whether each is cancelled) and all their events, doubled and shuffled.
    fn any_orders() -> impl Strategy<Value = (Vec<(i64, bool)>, Vec<Data>)> {
        proptest::collection::vec((0..10_000_i64, any::<bool>(), 1..4_usize), 1..12).prop_flat_map(|orders| {
            let mut events = Vec::new();
            for (n, &(cents, is_cancelled, copies)) in orders.iter().enumerate() {
                events.extend(std::iter::repeat_n(created(n, cents), copies));
                events.extend(std::iter::repeat_n(cancelled(n), if is_cancelled { copies } else { 0 }));
            }
            let orders = orders.iter().map(|&(cents, is_cancelled, _)| (cents, is_cancelled)).collect();
            (Just::<Vec<_>>(orders), Just(events).prop_shuffle())
        })
    }

    proptest! {
        #[test]
        fn no_event_can_make_it_panic(events in proptest::collection::vec(testing::arbitrary::event(), 1..12)) {
            let events: Vec<Data> = events.into_iter().map(|event| event.data).collect();
            prop_assert!(balances(&events).values().all(|points| *points >= 0));
        }
    }

    proptest! {
        #[test]
        fn balances_are_the_points_of_live_orders_in_any_order_of_arrival((orders, events) in any_orders()) {
            let mut expected = BTreeMap::new();
            for (n, (cents, is_cancelled)) in orders.into_iter().enumerate() {
                let points = if is_cancelled { 0 } else { points_for(Cents(cents)) };
                *expected.entry(customer(n)).or_insert(0) += points;
            }
            prop_assert_eq!(balances(&events), expected);
        }
    }
}
