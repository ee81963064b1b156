//! What each service must have written down about one order: once, and all of it right. The status of the
//! order decides which of two stories all services must tell: it was settled and stands, or it was cancelled
//! and everything was undone.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::books::Books;
use super::store::{Item, Mail, Order};
use crate::load::DECLINED;
use crate::notes::{Line, Note};

/// One order, as the client and order-api know it.
pub struct Case<'a> {
    pub id: &'a str,
    pub note: &'a Note,
    pub order: &'a Order,
}

/// What is wrong with one order.
#[derive(Default)]
pub struct Findings(pub Vec<String>);

impl Findings {
    pub fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    fn compare<T: PartialEq + Debug>(&mut self, what: &str, is: T, should: T) {
        if is != should {
            self.add(format!("{what} is {is:?} and should be {should:?}"));
        }
    }

    fn one_of(&mut self, what: &str, is: &str, allowed: &[&str]) {
        if !allowed.contains(&is) {
            self.add(format!("{what} is {is:?} and should be {}", allowed.join(" or ")));
        }
    }

    /// The only row of this order.
    fn only<'a, T>(&mut self, what: &str, rows: Option<&'a Vec<T>>) -> Option<&'a T> {
        match rows.map(Vec::as_slice).unwrap_or_default() {
            [row] => return Some(row),
            [] => self.add(format!("{what} is missing")),
            rows => self.add(format!("{what} is there {} times", rows.len())),
        }
        None
    }
}

impl Case<'_> {
    fn is_cancelled(&self) -> bool {
        self.order.status == "cancelled"
    }

    fn items(&self) -> Vec<Item> {
        let item = |line: &Line| Item { sku: line.sku.clone(), quantity: line.quantity };
        self.note.lines.iter().map(item).collect()
    }

    /// All checks; those of the other services only once the order is settled, for before that they may
    /// still have work to do.
    pub fn check(&self, books: &Books) -> Findings {
        let mut wrong = Findings::default();
        self.order_api(&mut wrong);
        if self.order.status == "received" {
            let Order { payment, stock, .. } = self.order;
            wrong.add(format!("order-api: it is not settled: payment {payment}, stock {stock}"));
            return wrong;
        }
        self.payment(books, &mut wrong);
        self.card_processor(books, &mut wrong);
        self.inventory(books, &mut wrong);
        self.loyalty(books, &mut wrong);
        self.analytics(books, &mut wrong);
        self.kitchen_display(books, &mut wrong);
        self.email(books, &mut wrong);
        wrong
    }

    fn order_api(&self, wrong: &mut Findings) {
        let Case { note, order, .. } = self;
        wrong.compare("order-api: the customer", &order.customer_id, &note.customer);
        wrong.compare("order-api: the list of items", &order.items, &self.items());
        wrong.compare("order-api: the total", order.total_cents, note.total_cents);
        match order.status.as_str() {
            "confirmed" | "preparing" | "ready" => {
                wrong.compare("order-api: the payment", order.payment.as_str(), "captured");
                wrong.compare("order-api: the stock", order.stock.as_str(), "reserved");
                if note.customer.starts_with(DECLINED) {
                    wrong.add("order-api: it is confirmed, although the card of this customer is declined");
                }
            }
            "cancelled" => {
                wrong.one_of("order-api: the payment", &order.payment, &["pending", "declined", "refunded"]);
                wrong.one_of("order-api: the stock", &order.stock, &["pending", "rejected", "released"]);
            }
            _ => {}
        }
    }

    fn payment(&self, books: &Books, wrong: &mut Findings) {
        let Some(payment) = wrong.only("payment: the payment", books.payments.get(self.id)) else { return };
        wrong.compare("payment: the customer", &payment.customer_id, &self.note.customer);
        wrong.compare("payment: the amount", payment.amount_cents, self.note.total_cents);
        let allowed: &[&str] = match (self.is_cancelled(), self.order.payment.as_str()) {
            (false, _) => &["captured"],
            (true, "declined") => &["declined"],
            (true, "refunded") => &["refunded"],
            (true, _) => &["cancelled"],
        };
        wrong.one_of("payment: the state", &payment.state, allowed);
    }

    fn card_processor(&self, books: &Books, wrong: &mut Findings) {
        let charges = books.charges.get(self.id).map(Vec::as_slice).unwrap_or_default();
        let captured: Vec<_> = charges.iter().filter(|charge| charge.is_captured).collect();
        for charge in charges {
            wrong.compare("card-processor: the customer", &charge.customer, &self.note.customer);
            wrong.compare("card-processor: the amount", charge.amount_cents, self.note.total_cents);
        }
        for charge in &captured {
            let refunded = if self.is_cancelled() { charge.amount_cents } else { 0 };
            wrong.compare("card-processor: the refunded amount", charge.refunded_cents, refunded);
        }
        let declined = charges.len() - captured.len();
        let expected = match (self.is_cancelled(), self.order.payment.as_str()) {
            (false, _) | (true, "refunded") => (1, 0),
            (true, "declined") => (0, 1),
            (true, _) => (0, 0),
        };
        let what = "card-processor: the number of charges (captured, declined)";
        wrong.compare(what, (captured.len(), declined), expected);
    }

    fn inventory(&self, books: &Books, wrong: &mut Findings) {
        let Some(held) = wrong.only("inventory: the reservation", books.reservations.get(self.id)) else {
            return;
        };
        let (state, has_lines) = match (self.is_cancelled(), self.order.stock.as_str()) {
            (false, _) => ("reserved", true),
            (true, "released") => ("released", true),
            (true, "rejected") => ("rejected", false),
            (true, _) => ("cancelled", false),
        };
        wrong.compare("inventory: the state of the reservation", held.state.as_str(), state);
        let mut wanted = BTreeMap::new();
        for line in self.note.lines.iter().filter(|_| has_lines) {
            *wanted.entry(line.sku.as_str()).or_insert(0) += line.quantity;
        }
        let lines: Vec<_> = held.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        wrong.compare("inventory: what is reserved", lines, wanted.into_iter().collect());
    }

    fn loyalty(&self, books: &Books, wrong: &mut Findings) {
        let Some(award) = wrong.only("loyalty: the award", books.awards.get(self.id)) else { return };
        let allowed: &[&str] = if self.is_cancelled() { &["taken_back", "cancelled"] } else { &["awarded"] };
        wrong.one_of("loyalty: the state of the award", &award.state, allowed);
        wrong.compare("loyalty: the customer", &award.customer_id, &self.note.customer);
        let points = if award.state == "cancelled" { 0 } else { self.note.total_cents / 100 };
        wrong.compare("loyalty: the points", award.points, points);
    }

    fn analytics(&self, books: &Books, wrong: &mut Findings) {
        let Some(fact) = wrong.only("analytics: the order", books.facts.get(self.id)) else { return };
        let total = self.note.total_cents;
        wrong.compare("analytics: the total", fact.total_cents, total);
        wrong.compare("analytics: the list of items", &fact.items, &self.items());
        let is_cancelled = self.is_cancelled();
        let flags = (fact.confirmed, fact.cancelled, fact.is_ready);
        let expected = (!is_cancelled, is_cancelled, self.order.status == "ready");
        wrong.compare("analytics: (confirmed, cancelled, ready)", flags, expected);
        let money = (fact.captured_cents, fact.refunded_cents);
        let expected = match (is_cancelled, self.order.payment.as_str()) {
            (false, _) => (total, 0),
            (true, "refunded") => (total, total),
            (true, _) => (0, 0),
        };
        wrong.compare("analytics: cents (captured, refunded)", money, expected);
    }

    fn kitchen_display(&self, books: &Books, wrong: &mut Findings) {
        let Some(ticket) = wrong.only("kitchen-display: the ticket", books.tickets.get(self.id)) else {
            return;
        };
        wrong.compare("kitchen-display: the customer", &ticket.customer_id, &self.note.customer);
        wrong.compare("kitchen-display: the list of items", &ticket.items, &self.items());
        let state = match self.order.status.as_str() {
            "confirmed" => "waiting",
            "preparing" => "started",
            "ready" => "ready",
            _ => "pulled",
        };
        wrong.compare("kitchen-display: the state of the ticket", ticket.state.as_str(), state);
    }

    /// At least one of each mail arrived; copies are counted elsewhere, for they are allowed.
    fn email(&self, books: &Books, wrong: &mut Findings) {
        let mails = books.mails.get(self.id).map(Vec::as_slice).unwrap_or_default();
        let kinds: Vec<&str> = mails.iter().map(|mail| mail.kind.as_str()).collect();
        let expected: &[&str] = match self.order.status.as_str() {
            "cancelled" => &["cancelled", "received"],
            "ready" => &["ready", "received"],
            _ => &["received"],
        };
        wrong.compare("email: the list of mails", kinds.as_slice(), expected);
        for Mail { message_id, kind, recipient, .. } in mails {
            let address = format!("{}@example.com", self.note.customer);
            wrong.compare("email: the recipient", recipient, &address);
            if !books.files.contains_key(message_id) {
                wrong.add(format!("mailbox: the mail {kind:?} never arrived ({message_id})"));
            }
        }
    }
}
