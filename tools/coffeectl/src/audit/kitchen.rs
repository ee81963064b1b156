//! Invariant 7: the kitchen's tickets against the orders.

use std::collections::HashMap;

use super::letters::Letters;
use super::order::{Orders, Status};
use super::report::Check;
use super::stream::StreamLog;

/// Who has a part in it: what either of them buried explains a difference.
const CONCERNED: [&str; 2] = ["kitchen-display", "order-api"];

/// 7. A confirmed order has exactly one live ticket, at the same stage as the order; a cancelled one none.
///
/// `tickets`: state by order id, which is the table's primary key.
pub fn one_live_ticket(
    orders: &Orders,
    log: &StreamLog,
    letters: &Letters,
    tickets: &HashMap<String, String>,
) -> Check {
    let mut check = Check::of(7);
    let mut explained = 0;
    for (id, order) in orders {
        check.checked += 1;
        let found = tickets.get(id).map(String::as_str);
        if is_right(order.status, found) {
            continue;
        }
        if letters.explain_order(&CONCERNED, id) {
            explained += 1;
            continue;
        }
        let found = found.unwrap_or("none");
        check.violation(id, format!("{}, but its ticket is {found}", order.status));
    }
    let is_known = |id: &String| orders.contains_key(id) || log.forgetful || log.orders.contains_key(id);
    for (id, _) in tickets.iter().filter(|(id, state)| *state != "pulled" && !is_known(id)) {
        check.checked += 1;
        check.violation(id, "the kitchen has a ticket for this order, and nobody placed it");
    }
    check.note(explained, "tickets differ because their event was buried; redrive it");
    check
}

fn is_right(status: Status, ticket: Option<&str>) -> bool {
    match status {
        Status::Received => matches!(ticket, None | Some("pending")),
        Status::Confirmed => ticket == Some("waiting"),
        Status::Preparing => ticket == Some("started"),
        Status::Ready => ticket == Some("ready"),
        Status::Cancelled => matches!(ticket, None | Some("pulled")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::orders;
    use super::super::stream::sample;
    use super::*;

    fn violations(tickets: &[(&str, &str)], letters: &Letters) -> Vec<String> {
        let orders =
            orders(&[("new", Status::Received), ("ours", Status::Confirmed), ("gone", Status::Cancelled)]);
        let tickets = tickets.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect();
        let log = sample::log(&[sample::created("hand", 300)], &orders);
        let check = one_live_ticket(&orders, &log, letters, &tickets);
        check.named.into_iter().map(|violation| violation.about).collect()
    }

    #[test]
    fn a_missing_and_a_left_ticket_are_found() {
        let none = Letters::default();
        assert!(violations(&[("ours", "waiting"), ("gone", "pulled"), ("new", "pending")], &none).is_empty());
        assert_eq!(violations(&[("gone", "pulled")], &none), ["ours"]);
        assert_eq!(violations(&[("ours", "waiting"), ("gone", "waiting")], &none), ["gone"]);
        assert_eq!(violations(&[("ours", "waiting"), ("new", "started")], &none), ["new"]);
        assert!(violations(&[], &Letters::of_order("kitchen-display", "ours")).is_empty());
        assert!(violations(&[("ours", "waiting"), ("hand", "pending")], &none).is_empty());
        assert_eq!(violations(&[("ours", "waiting"), ("ghost", "waiting")], &none), ["ghost"]);
    }
}
