//! Invariant 5: what inventory has left against what it promised, and what it promised against the orders.

use std::collections::{BTreeMap, HashMap};

use super::letters::Letters;
use super::order::{Order, Orders, Status};
use super::report::Check;
use super::store::{Reservation, Stock};
use super::stream::StreamLog;

/// 5. Stock = initial − reserved for live orders; never negative.
pub fn adds_up(
    orders: &Orders,
    log: &StreamLog,
    letters: &Letters,
    stock: &[Stock],
    reservations: &[Reservation],
) -> Check {
    let mut check = Check::of(5);
    let mut reserved: HashMap<&str, i64> = HashMap::new();
    for reservation in reservations.iter().filter(|reservation| reservation.is_live()) {
        for line in &reservation.lines {
            *reserved.entry(&line.sku).or_default() += line.quantity;
        }
    }
    for row in stock {
        let taken = reserved.remove(row.sku.as_str()).unwrap_or(0);
        check.expect(&row.sku, "available (initial − reserved)", row.initial - taken, row.available);
        if row.available < 0 {
            check.violation(&row.sku, format!("negative: {} available", row.available));
        }
    }
    for (sku, quantity) in reserved {
        check.violation(sku, format!("{quantity} reserved of something that is not in stock"));
    }
    for_each_order(&mut check, orders, letters, reservations);
    for_nobody(&mut check, orders, log, letters, reservations);
    check
}

/// What is reserved for orders that the order API does not know: somebody has to have placed them by hand.
fn for_nobody(
    check: &mut Check,
    orders: &Orders,
    log: &StreamLog,
    letters: &Letters,
    reservations: &[Reservation],
) {
    let strange =
        reservations.iter().filter(|found| found.is_live() && !orders.contains_key(&found.order_id));
    for Reservation { order_id, .. } in strange {
        check.checked += 1;
        let problem = match log.orders.get(order_id) {
            Some(told) if told.cancelled => "cancelled by hand, but its stock is still reserved",
            Some(told) if told.created.is_some() => continue,
            _ if log.forgetful => continue,
            _ => "stock is reserved for this order, and nobody placed it",
        };
        if !letters.explain_order(&["inventory"], order_id) {
            check.violation(order_id, problem);
        }
    }
}

fn for_each_order(check: &mut Check, orders: &Orders, letters: &Letters, reservations: &[Reservation]) {
    let by_order: HashMap<&str, &Reservation> =
        reservations.iter().map(|reservation| (reservation.order_id.as_str(), reservation)).collect();
    let mut explained = 0;
    for (id, order) in orders {
        let found = by_order.get(id.as_str()).copied();
        check.checked += 1;
        let Some(problem) = problem_of(order, found) else { continue };
        if letters.explain_order(&["inventory"], id) {
            explained += 1;
        } else {
            check.violation(id, problem);
        }
    }
    check.note(explained, "orders differ because inventory buried their event; redrive it");
}

fn problem_of(order: &Order, reservation: Option<&Reservation>) -> Option<String> {
    let live = reservation.filter(|reservation| reservation.is_live());
    let state = reservation.map_or("none", |reservation| reservation.state.as_str());
    match live {
        Some(_) if order.status == Status::Cancelled => {
            Some("cancelled, but its stock is still reserved".into())
        }
        None if order.status.is_confirmed() => {
            Some(format!("{}, but its stock is not reserved (reservation: {state})", order.status))
        }
        Some(reservation) => {
            let (ordered, taken) = (quantities(order), lines(reservation));
            (ordered != taken).then(|| format!("reserved: expected {ordered:?}, found {taken:?}"))
        }
        None => None,
    }
}

fn quantities(order: &Order) -> BTreeMap<&str, i64> {
    let mut wanted = BTreeMap::new();
    for item in &order.items {
        *wanted.entry(item.sku.as_deref().unwrap_or(&item.name)).or_default() += i64::from(item.quantity);
    }
    wanted
}

fn lines(reservation: &Reservation) -> BTreeMap<&str, i64> {
    let mut taken = BTreeMap::new();
    for line in &reservation.lines {
        *taken.entry(line.sku.as_str()).or_default() += line.quantity;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::orders;
    use super::super::store::Line;
    use super::super::stream::sample;
    use super::*;

    fn stock(sku: &str, available: i64) -> Stock {
        Stock { sku: sku.into(), initial: 100, available }
    }

    fn reservation(order: &str, state: &str, lattes: i64) -> Reservation {
        let line = |sku: &str, quantity| Line { sku: sku.into(), quantity };
        Reservation {
            order_id: order.into(),
            state: state.into(),
            lines: vec![line("latte", lattes), line("espresso", 1)],
        }
    }

    fn violations(stock: &[Stock], reservations: &[Reservation], letters: &Letters) -> Vec<String> {
        let orders = orders(&[("live", Status::Confirmed), ("gone", Status::Cancelled)]);
        let by_hand =
            [sample::created("hand", 300), sample::created("undone", 300), sample::cancelled("undone")];
        let check = adds_up(&orders, &sample::log(&by_hand, &orders), letters, stock, reservations);
        let mut about: Vec<_> = check.named.into_iter().map(|violation| violation.about).collect();
        about.sort_unstable();
        about
    }

    #[test]
    fn wrong_stock_is_found() {
        let none = Letters::default();
        let reserved = [reservation("live", "reserved", 2), reservation("gone", "released", 2)];
        let shelf = |latte, espresso| [stock("latte", latte), stock("espresso", espresso)];
        assert!(violations(&shelf(98, 99), &reserved, &none).is_empty());
        assert_eq!(violations(&shelf(97, 99), &reserved, &none), ["latte"]);
        assert_eq!(violations(&[stock("latte", 98)], &reserved, &none), ["espresso"], "unknown sku");
        let by_hand = [reservation("live", "reserved", 2), reservation("hand", "reserved", 100)];
        assert_eq!(violations(&shelf(-2, 98), &by_hand, &none), ["latte"], "negative");
    }

    #[test]
    fn what_is_reserved_for_nobody_is_found() {
        let shelf = [stock("latte", 96), stock("espresso", 98)];
        let beside = |order| {
            violations(
                &shelf,
                &[reservation("live", "reserved", 2), reservation(order, "reserved", 2)],
                &Letters::default(),
            )
        };
        assert!(beside("hand").is_empty());
        assert_eq!(beside("undone"), ["undone"]);
        assert_eq!(beside("ghost"), ["ghost"]);
    }

    #[test]
    fn a_reservation_that_contradicts_its_order_is_found_or_explained() {
        let shelf = |latte, espresso| [stock("latte", latte), stock("espresso", espresso)];
        let none = Letters::default();
        let kept = [reservation("live", "reserved", 2), reservation("gone", "reserved", 2)];
        assert_eq!(violations(&shelf(96, 98), &kept, &none), ["gone"]);
        assert!(violations(&shelf(96, 98), &kept, &Letters::of_order("inventory", "gone")).is_empty());
        assert_eq!(violations(&shelf(100, 100), &[], &none), ["live"]);
        assert_eq!(violations(&shelf(95, 99), &[reservation("live", "reserved", 5)], &none), ["live"]);
    }
}
