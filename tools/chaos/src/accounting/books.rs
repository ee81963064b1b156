//! Everything that is written down about orders, in all services and in the customers' mailbox, side by
//! side. No table is trusted to hold one row per order: that is part of what is checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::store::{Award, Charge, Fact, Mail, Order, Payment, Reservation, Ticket};

/// By order id, if not said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The order of each idempotency key.
    pub keys: HashMap<String, String>,
    pub orders: HashMap<String, Vec<Order>>,
    pub payments: HashMap<String, Vec<Payment>>,
    pub charges: HashMap<String, Vec<Charge>>,
    pub reservations: HashMap<String, Vec<Reservation>>,
    pub awards: HashMap<String, Vec<Award>>,
    pub facts: HashMap<String, Vec<Fact>>,
    pub tickets: HashMap<String, Vec<Ticket>>,
    pub mails: HashMap<String, Vec<Mail>>,
    /// How many mails with this Message-ID arrived.
    pub files: HashMap<String, u64>,
}

impl Books {
    /// Orders that nobody asked for, with the services that know them.
    pub fn strangers(&self, known: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<&'static str>> {
        let mut strangers = BTreeMap::<String, Vec<&str>>::new();
        let mut look = |service, orders: Vec<&String>| {
            for order in orders.into_iter().filter(|order| !known(order)) {
                strangers.entry(order.clone()).or_default().push(service);
            }
        };
        look("order-api", self.orders.keys().collect());
        look("payment", self.payments.keys().collect());
        look("card-processor", self.charges.keys().collect());
        look("inventory", self.reservations.keys().collect());
        look("loyalty", self.awards.keys().collect());
        look("analytics", self.facts.keys().collect());
        look("kitchen-display", self.tickets.keys().collect());
        look("email", self.mails.keys().collect());
        strangers
    }

    /// Message-IDs that arrived although email has no note of having sent them.
    pub fn unsent_mails(&self) -> Vec<&str> {
        let sent: HashSet<&str> =
            self.mails.values().flatten().map(|mail| mail.message_id.as_str()).collect();
        let mut unsent: Vec<&str> =
            self.files.keys().map(String::as_str).filter(|id| !sent.contains(id)).collect();
        unsent.sort_unstable();
        unsent
    }
}
