//! However an order's events are doubled and shuffled, the shop ends with the same stock.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use events::{Cents, CustomerId, Item, OrderCancelled, OrderId};
use proptest::prelude::*;

use super::*;
use crate::stock::Article;

const PLENTY: i64 = 1_000_000;

fn shelf(available: i64) -> Shelf {
    [("latte", "Latte"), ("mocha", "Mocha"), ("flat-white", "Flat White")]
        .map(|(sku, name)| Article { sku: sku.to_owned(), name: name.to_owned(), available })
        .into_iter()
        .collect()
}

fn item(name: &str, quantity: u32) -> Item {
    Item { name: name.to_owned(), sku: None, price: Cents(450), quantity }
}

fn order_id(n: usize) -> OrderId {
    OrderId::try_from(format!("order-{n}")).unwrap()
}

fn customer() -> CustomerId {
    "cust-1".to_owned().try_into().unwrap()
}

fn created(n: usize, items: Vec<Item>) -> Data {
    let total = Cents(0);
    OrderCreated { order_id: order_id(n), customer_id: customer(), email: None, items, total }.into()
}

fn cancelled(n: usize) -> Data {
    let reason = "declined".to_owned();
    OrderCancelled { order_id: order_id(n), customer_id: customer(), email: None, reason }.into()
}

struct Shop {
    shelf: Shelf,
    reservations: BTreeMap<OrderId, Reservation>,
    said: Vec<Data>,
}

impl Shop {
    fn with(available: i64) -> Shop {
        Shop { shelf: shelf(available), reservations: BTreeMap::new(), said: Vec::new() }
    }

    fn hear(&mut self, event: &Data) {
        let current = self.reservations.get(event.order_id());
        if let Some(decision) = apply(current, event, &mut self.shelf) {
            self.reservations.insert(event.order_id().clone(), decision.reservation);
            self.said.extend(decision.say);
        }
    }

    fn reserved(&self, sku: &str) -> i64 {
        let live = self.reservations.values().filter(|held| held.state == State::Reserved);
        live.flat_map(|held| &held.lines).filter(|line| line.sku == sku).map(|line| line.quantity).sum()
    }

    /// The promise that the audit checks over the database.
    fn adds_up(&self, initial: i64) -> bool {
        ["latte", "mocha", "flat-white"].iter().all(|sku| {
            let available = self.shelf.get(sku).unwrap().available;
            available >= 0 && available == initial - self.reserved(sku)
        })
    }
}

fn reason(said: &[Data]) -> &str {
    match said {
        [Data::StockRejected(rejected)] => &rejected.reason,
        other => panic!("expected one rejection, got {other:?}"),
    }
}

#[test]
fn lines_of_one_sku_add_up_however_they_name_it() {
    let mut shop = Shop::with(10);
    let by_sku = Item { sku: Some("latte".to_owned()), ..item("Something else", 2) };
    shop.hear(&created(1, vec![item("Latte", 3), by_sku, item("lATTE", 5)]));
    assert_eq!(shop.reservations[&order_id(1)].lines, [Line { sku: "latte".to_owned(), quantity: 10 }]);
    shop.hear(&created(2, vec![item("Latte", 1)]));
    assert_eq!(shop.reservations[&order_id(2)].state, State::Rejected);
}

#[test]
fn all_lines_or_none_are_reserved() {
    let mut shop = Shop::with(10);
    shop.hear(&created(1, vec![item("Mocha", 2), item("Latte", 6), item("Latte", 5)]));
    assert_eq!(reason(&shop.said), "out of stock: Latte");
    assert!(shop.adds_up(10) && shop.reserved("mocha") == 0);
}

#[test]
fn what_we_do_not_sell_is_named() {
    let mut shop = Shop::with(0);
    shop.hear(&created(1, vec![item("Latte", 1), item("Unicorn", 1)]));
    assert_eq!(reason(&shop.said), "we do not sell Unicorn");
}

#[test]
fn a_reason_stays_short_enough_for_the_wire() {
    let mut shop = Shop::with(0);
    shop.hear(&created(1, (0..500).map(|n| item(&format!("{n:0>200}"), 1)).collect()));
    let reason = reason(&shop.said);
    assert!(reason.ends_with(" and 497 more") && reason.len() < 1_000, "{reason}");
}

#[test]
fn cancelled_before_created_takes_nothing_and_says_nothing() {
    let mut shop = Shop::with(10);
    shop.hear(&cancelled(1));
    shop.hear(&created(1, vec![item("Latte", 1)]));
    assert_eq!(shop.reservations[&order_id(1)].state, State::Cancelled);
    assert!(shop.said.is_empty() && shop.adds_up(10) && shop.reserved("latte") == 0);
}

#[test]
fn a_rejected_order_has_nothing_to_release() {
    let mut shop = Shop::with(0);
    shop.hear(&created(1, vec![item("Latte", 1)]));
    shop.hear(&cancelled(1));
    assert_eq!(shop.said.len(), 1);
    assert!(shop.adds_up(0));
}

fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let name =
        prop_oneof![9 => prop_oneof![Just("Latte"), Just("MOCHA"), Just("flat white")], 1 => Just("Unicorn")];
    proptest::collection::vec((name, 1..5_u32).prop_map(|(name, quantity)| item(name, quantity)), 1..4)
}

/// The events of some orders, some cancelled, each event once to three times, in any order.
fn any_events() -> impl Strategy<Value = Vec<Data>> {
    proptest::collection::vec((any_items(), any::<bool>(), 1..4_usize), 1..12)
        .prop_map(|orders| {
            let mut events = Vec::new();
            for (n, (items, is_cancelled, copies)) in orders.into_iter().enumerate() {
                events.extend(std::iter::repeat_n(created(n, items), copies));
                events.extend(std::iter::repeat_n(cancelled(n), if is_cancelled { copies } else { 0 }));
            }
            events
        })
        .prop_shuffle()
}

proptest! {
    #[test]
    fn no_event_can_make_it_panic_or_take_what_is_not_there(
        events in proptest::collection::vec(testing::arbitrary::event(), 1..12),
    ) {
        let (mut shelf, mut reservations) = (shelf(10_000), BTreeMap::new());
        for event in &events {
            if let Some(decision) = apply(reservations.get(event.order_id()), &event.data, &mut shelf) {
                reservations.insert(event.order_id().clone(), decision.reservation);
            }
            prop_assert!((0..=10_000).contains(&shelf.get("latte").unwrap().available));
        }
    }
}

proptest! {
    #[test]
    fn stock_is_never_negative_and_always_adds_up(events in any_events(), initial in 0..20_i64) {
        let mut shop = Shop::with(initial);
        for event in &events {
            shop.hear(event);
            prop_assert!(shop.adds_up(initial), "after {event:?}: {:?}", shop.shelf);
        }
        for event in &events {
            if let Data::OrderCancelled(order) = event {
                prop_assert_ne!(shop.reservations[&order.order_id].state, State::Reserved);
            }
        }
    }

    /// Who gets the last piece depends on who comes first, so this holds while there is enough for all.
    #[test]
    fn any_order_of_arrival_ends_with_the_same_stock(
        (events, shuffled) in any_events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
    ) {
        let (mut one, mut other) = (Shop::with(PLENTY), Shop::with(PLENTY));
        events.iter().for_each(|event| one.hear(event));
        shuffled.iter().for_each(|event| other.hear(event));
        let live = |shop: &Shop| {
            let mut live = shop.reservations.clone();
            live.retain(|_, held| held.state == State::Reserved);
            live
        };
        prop_assert_eq!(live(&one), live(&other));
        for sku in ["latte", "mocha", "flat-white"] {
            prop_assert_eq!(one.shelf.get(sku), other.shelf.get(sku));
        }
    }

    #[test]
    fn an_order_is_answered_once_and_released_at_most_once(events in any_events()) {
        let mut shop = Shop::with(PLENTY);
        events.iter().for_each(|event| shop.hear(event));
        let mut counts = BTreeMap::new();
        for said in &shop.said {
            let kind = if matches!(said, Data::StockReleased(_)) { "released" } else { "answered" };
            *counts.entry((said.order_id().clone(), kind)).or_insert(0) += 1;
        }
        prop_assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    }
}
