//! A sequence of events, one on each line, as every service that decides something from events takes it in.
//! A service is a program and cannot be linked, but its `domain.rs` is pure, and is compiled in as it is.
#![no_main]
#![allow(dead_code)]

use std::collections::BTreeMap;

use events::Event;
use libfuzzer_sys::fuzz_target;
use messaging::TraceContext;

#[path = "../../services/analytics/src/domain.rs"]
mod analytics;
#[path = "../../services/inventory/src/domain.rs"]
mod inventory;
#[path = "../../services/kitchen-display/src/domain.rs"]
mod kitchen_display;
#[path = "../../services/loyalty/src/domain.rs"]
mod loyalty;
#[path = "../../services/order-api/src/domain.rs"]
mod order_api;
#[path = "../../services/payment/src/domain.rs"]
mod payment;
#[path = "../../services/inventory/src/stock.rs"]
mod stock;

const AVAILABLE: i64 = 10_000;

/// What the services know, each of its own.
struct Shop {
    trace: TraceContext,
    payments: BTreeMap<String, payment::Payment>,
    tickets: BTreeMap<String, kitchen_display::Ticket>,
    awards: BTreeMap<String, loyalty::Award>,
    shelf: stock::Shelf,
    reservations: BTreeMap<String, inventory::Reservation>,
    facts: BTreeMap<String, analytics::Fact>,
    tally: analytics::Tally,
    order: order_api::Order,
}

impl Shop {
    fn open() -> Shop {
        let articles = ["latte", "mocha"].map(|sku| stock::Article {
            sku: sku.to_owned(),
            name: sku.to_owned(),
            available: AVAILABLE,
        });
        let order = order_api::Order {
            id: "order-1".to_owned().try_into().expect("valid"),
            customer: "cust-1".to_owned().try_into().expect("valid"),
            email: None,
            status: order_api::Status::Received,
            cancel_reason: None,
            payment: order_api::Payment::Pending,
            stock: order_api::Stock::Pending,
            ticket: order_api::Ticket::None,
            version: 1,
        };
        Shop {
            trace: TraceContext::from_parts(None, None),
            payments: BTreeMap::new(),
            tickets: BTreeMap::new(),
            awards: BTreeMap::new(),
            shelf: articles.into_iter().collect(),
            reservations: BTreeMap::new(),
            facts: BTreeMap::new(),
            tally: analytics::Tally::default(),
            order,
        }
    }

    fn hear(&mut self, event: &Event) {
        let id = event.order_id().to_string();
        if let Some(payment) = payment::hear(self.payments.get(&id), event, &self.trace) {
            self.payments.insert(id.clone(), payment);
        }
        self.tickets.entry(id.clone()).or_default().hear(event, &self.trace);
        if let Some(award) = loyalty::apply(self.awards.get(&id), &event.data) {
            self.awards.insert(id.clone(), award);
        }
        let fact = self.facts.entry(id.clone()).or_default();
        self.tally -= &*fact;
        fact.learn(event);
        self.tally += &*fact;
        if let Some(decision) = inventory::apply(self.reservations.get(&id), &event.data, &mut self.shelf) {
            self.reservations.insert(id, decision.reservation);
        }
        self.order.hear(&event.data);
    }

    fn check(&self) {
        for article in self.shelf.changed() {
            assert!((0..=AVAILABLE).contains(&article.available), "{article:?}");
        }
        assert!(self.awards.values().all(|award| award.counts() >= 0));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut shop = Shop::open();
    for event in data.split(|byte| *byte == b'\n').filter_map(|line| Event::decode(line).ok()) {
        shop.hear(&event);
        shop.check();
    }
});
