//! Invariants 1, 2, 4 and 8: the order API's own tables.

use std::collections::{HashMap, HashSet};

use super::letters::Letters;
use super::order::{Orders, Status};
use super::report::Check;

/// 1. Every order answered 201 exists; one idempotency key made at most one order.
///
/// `answered`: ids that a client noted down when it got its 201, where there are any.
pub fn exist(orders: &Orders, keys: &[(String, String)], answered: &[String]) -> Check {
    let mut check = Check::of(1);
    let mut key_of: HashMap<&str, &str> = HashMap::new();
    for (key, order) in keys {
        check.checked += 1;
        if !orders.contains_key(order) {
            check.violation(
                order,
                format!("the idempotency key {key:?} names this order, which does not exist"),
            );
        }
        if let Some(other) = key_of.insert(order, key) {
            check.violation(order, format!("made by two idempotency keys, {other:?} and {key:?}"));
        }
    }
    for order in answered {
        check.checked += 1;
        if !orders.contains_key(order) {
            check.violation(order, "was answered with 201 and does not exist");
        }
    }
    check
}

/// 2. Each order has exactly one OrderCreated in the outbox, for as long as outbox rows are kept.
pub fn told_once(orders: &Orders, outbox: &HashMap<String, i64>) -> Check {
    let mut check = Check::of(2);
    let mut old = 0;
    for (id, order) in orders {
        let rows = outbox.get(id).copied().unwrap_or(0);
        if rows == 0 && !order.in_outbox {
            old += 1;
            continue;
        }
        check.expect(id, "OrderCreated rows in the outbox", 1, rows);
    }
    for id in outbox.keys().filter(|id| !orders.contains_key(*id)) {
        check.violation(id, "has an OrderCreated in the outbox, but no such order exists");
    }
    check.note(old, "orders are older than the outbox keeps its rows, and were not checked");
    check
}

/// 4. Every order is settled, or one of its events is in the dead letters.
pub fn settled(orders: &Orders, letters: &Letters) -> Check {
    let mut check = Check::of(4);
    let mut explained = 0;
    for (id, order) in orders {
        check.checked += 1;
        match order.status {
            Status::Received if letters.explain_order_anywhere(id) => explained += 1,
            Status::Received => check.violation(
                id,
                "still received: expected confirmed or cancelled by now, or a dead letter that says why not",
            ),
            _ => {}
        }
    }
    check.note(explained, "unsettled orders have an event in the dead letters");
    check
}

/// 8. Order state never moves backwards.
///
/// Fed with the timeline in order of order id and version; the first version of an order is `received` and
/// has no row.
pub struct Timelines<'a> {
    orders: &'a Orders,
    check: Check,
    current: Option<(String, Status)>,
    seen: HashSet<&'a str>,
}

impl<'a> Timelines<'a> {
    pub fn new(orders: &'a Orders) -> Timelines<'a> {
        Timelines { orders, check: Check::of(8), current: None, seen: HashSet::new() }
    }

    pub fn row(&mut self, order: &str, version: i64, status: &str) {
        self.check.checked += 1;
        let Some(status) = Status::parse(status) else {
            return self
                .check
                .violation(order, format!("version {version} has the unknown status {status:?}"));
        };
        let before = match &self.current {
            Some((id, before)) if id == order => *before,
            _ => {
                self.close();
                Status::Received
            }
        };
        if !before.may_become(status) {
            self.check.violation(order, format!("went from {before} to {status} with version {version}"));
        }
        match &mut self.current {
            Some((id, current)) if id == order => *current = status,
            current => *current = Some((order.to_owned(), status)),
        }
    }

    /// The order of the rows so far is complete.
    fn close(&mut self) {
        let Some((id, last)) = self.current.take() else { return };
        let Some((known, order)) = self.orders.get_key_value(&id) else {
            return self.check.violation(&id, "has a timeline, but no such order exists");
        };
        self.seen.insert(known);
        if order.status != last {
            let problem = format!("is {}, but its timeline ends with {last}", order.status);
            self.check.violation(&id, problem);
        }
    }

    pub fn finish(mut self) -> Check {
        self.close();
        for (id, order) in self.orders {
            if order.status != Status::Received && !self.seen.contains(id.as_str()) {
                self.check.violation(id, format!("is {}, but has no timeline", order.status));
            }
        }
        self.check
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::{order, orders};
    use super::*;

    fn key(key: &str, order: &str) -> (String, String) {
        (key.to_owned(), order.to_owned())
    }

    #[test]
    fn a_key_without_its_order_and_an_order_of_two_keys_are_found() {
        let orders = orders(&[("a", Status::Ready), ("b", Status::Ready)]);
        assert_eq!(exist(&orders, &[key("k1", "a"), key("k2", "b")], &["a".into()]).violations, 0);
        assert_eq!(exist(&orders, &[key("k1", "lost")], &[]).named[0].about, "lost");
        assert_eq!(exist(&orders, &[key("k1", "a"), key("k2", "a")], &[]).violations, 1);
        assert_eq!(exist(&orders, &[], &["lost".into()]).violations, 1);
    }

    #[test]
    fn an_order_told_never_or_twice_is_found() {
        let mut orders = orders(&[("a", Status::Ready), ("b", Status::Ready), ("c", Status::Ready)]);
        orders.insert("old".into(), super::super::order::Order { in_outbox: false, ..order(Status::Ready) });
        let told = |rows: &[(&str, i64)]| rows.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        let good = told_once(&orders, &told(&[("a", 1), ("b", 1), ("c", 1)]));
        assert_eq!((good.violations, good.checked, good.notes.len()), (0, 3, 1));
        let bad = told_once(&orders, &told(&[("a", 1), ("b", 2), ("ghost", 1)]));
        let mut about: Vec<_> = bad.named.iter().map(|violation| violation.about.as_str()).collect();
        about.sort_unstable();
        assert_eq!(about, ["b", "c", "ghost"]);
    }

    #[test]
    fn an_unsettled_order_needs_a_dead_letter() {
        let orders = orders(&[("a", Status::Received), ("b", Status::Cancelled)]);
        assert_eq!(settled(&orders, &Letters::default()).named[0].about, "a");
        assert_eq!(settled(&orders, &Letters::of_order("payment", "a")).violations, 0);
        assert_eq!(settled(&orders, &Letters::of_order("payment", "b")).violations, 1);
    }

    #[test]
    fn a_timeline_that_goes_back_or_ends_elsewhere_is_found() {
        let orders = orders(&[("a", Status::Ready), ("b", Status::Cancelled), ("c", Status::Confirmed)]);
        let check = |rows: &[(&str, &str)]| {
            let mut timelines = Timelines::new(&orders);
            for (version, (order, status)) in rows.iter().enumerate() {
                timelines.row(order, version as i64 + 2, status);
            }
            timelines.finish()
        };
        let good =
            [("a", "received"), ("a", "confirmed"), ("a", "ready"), ("b", "cancelled"), ("c", "confirmed")];
        assert_eq!(check(&good).violations, 0);
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("a", "ready"), ("a", "confirmed"), ("a", "ready")], "a: went from ready to confirmed"),
            (&[("b", "cancelled"), ("b", "confirmed")], "b: went from cancelled to confirmed"),
            (&[("c", "preparing")], "c: is confirmed, but its timeline ends with preparing"),
            (&[("x", "ready")], "x: has a timeline, but no such order"),
            (&[("a", "lost")], "a: version 2 has the unknown status"),
            (&[], "b: is cancelled, but has no timeline"),
        ];
        for (rows, expected) in cases {
            let found: Vec<_> =
                check(rows).named.iter().map(|found| format!("{}: {}", found.about, found.problem)).collect();
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}: {found:?}");
        }
    }
}
