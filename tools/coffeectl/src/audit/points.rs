//! Invariant 6, first half: loyalty's points against a recomputation from the orders.

use std::collections::HashMap;

use super::letters::Letters;
use super::order::{Orders, Status};
use super::report::Check;
use super::store::{Award, Balance};
use super::stream::StreamLog;

/// One point for each full unit of the currency.
const CENTS_PER_POINT: i64 = 100;

/// The points an order should have earned, and for whom; 0 once it is cancelled.
struct Due {
    points: i64,
    customer: String,
    live: bool,
}

/// 6. Awards equal the orders, and balances equal the sum of the awards due.
pub fn equal_recomputation(
    check: &mut Check,
    orders: &Orders,
    log: &StreamLog,
    letters: &Letters,
    awards: &[Award],
    balances: &[Balance],
) {
    let mut due = due_from(orders, log);
    let mut expected: HashMap<&str, i64> = HashMap::new();
    let mut taken_as_found = 0;
    let mut found: HashMap<&str, &Award> = HashMap::new();
    for award in awards {
        found.insert(&award.order_id, award);
        let explained = letters.explain_order(&["loyalty"], &award.order_id);
        let unknowable = !due.contains_key(&award.order_id)
            && (log.forgetful || log.orders.get(&award.order_id).is_some_and(|told| told.contradictory));
        if explained || unknowable {
            taken_as_found += 1;
            due.remove(&award.order_id);
            *expected.entry(&award.customer_id).or_default() += award.held();
        } else if !due.contains_key(&award.order_id) && award.held() != 0 {
            check.violation(&award.order_id, format!("{} points for an order nobody placed", award.points));
        }
    }
    due.retain(|id, _| found.contains_key(id.as_str()) || !letters.explain_order(&["loyalty"], id));
    for (id, due) in &due {
        compare_award(check, id, due, found.get(id.as_str()).copied());
        *expected.entry(&due.customer).or_default() += due.points;
    }
    compare_balances(check, expected, balances);
    check.note(
        taken_as_found,
        "awards cannot be recomputed (buried, contradictory or forgotten by the stream)",
    );
}

fn due_from(orders: &Orders, log: &StreamLog) -> HashMap<String, Due> {
    let due = |total: i64, live: bool, customer: &str| Due {
        points: if live { total / CENTS_PER_POINT } else { 0 },
        customer: customer.to_owned(),
        live,
    };
    let ours = orders.iter().map(|(id, order)| {
        (id.clone(), due(order.total_cents, order.status != Status::Cancelled, &order.customer))
    });
    let by_hand = log.foreign(orders).filter(|(_, told)| !told.contradictory).filter_map(|(id, told)| {
        let created = told.created.as_ref()?;
        Some((id.clone(), due(created.total.0, !told.cancelled, created.customer_id.as_str())))
    });
    ours.chain(by_hand).collect()
}

fn compare_award(check: &mut Check, id: &str, due: &Due, found: Option<&Award>) {
    check.checked += 1;
    let held = found.map_or(0, Award::held);
    if due.live && found.is_none() {
        check.violation(id, format!("expected {} points for {}, found no award", due.points, due.customer));
    } else if held != due.points {
        check.violation(id, format!("points: expected {}, found {held}", due.points));
    } else if let Some(award) = found.filter(|award| due.live && award.customer_id != due.customer) {
        check.violation(id, format!("points for {}, expected for {}", award.customer_id, due.customer));
    }
}

fn compare_balances(check: &mut Check, mut expected: HashMap<&str, i64>, balances: &[Balance]) {
    for balance in balances {
        let points = expected.remove(balance.customer_id.as_str()).unwrap_or(0);
        check.expect(&balance.customer_id, "balance of points", points, balance.points);
    }
    for (customer, points) in expected {
        check.expect(customer, "balance of points", points, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::orders;
    use super::super::stream::sample;
    use super::*;

    fn award(order: &str, points: i64, state: &str) -> Award {
        Award { order_id: order.into(), customer_id: "cust-1".into(), points, state: state.into() }
    }

    fn violations(awards: &[Award], balance: i64, letters: &Letters) -> Vec<String> {
        let orders = orders(&[("live", Status::Ready), ("gone", Status::Cancelled)]);
        let events =
            [sample::created("hand", 399), sample::created("undone", 800), sample::cancelled("undone")];
        let log = sample::log(&events, &orders);
        let balances = [Balance { customer_id: "cust-1".into(), points: balance }];
        let mut check = Check::of(6);
        equal_recomputation(&mut check, &orders, &log, letters, awards, &balances);
        let mut about: Vec<_> = check.named.into_iter().map(|violation| violation.about).collect();
        about.sort_unstable();
        about
    }

    fn right() -> Vec<Award> {
        vec![award("live", 11, "awarded"), award("gone", 11, "taken_back"), award("hand", 3, "awarded")]
    }

    #[test]
    fn wrong_points_are_found() {
        let none = Letters::default();
        assert!(violations(&right(), 14, &none).is_empty());
        assert_eq!(violations(&right(), 15, &none), ["cust-1"]);
        assert_eq!(
            violations(&[&right()[..], &[award("ghost", 5, "awarded")]].concat(), 14, &none),
            ["ghost"]
        );
        assert_eq!(violations(&right()[1..], 14, &none), ["live"]);
        let mut kept = right();
        kept[1].state = "awarded".into();
        assert_eq!(violations(&kept, 14, &none), ["gone"]);
    }

    #[test]
    fn a_buried_event_explains_missing_points() {
        assert!(violations(&right()[1..], 3, &Letters::of_order("loyalty", "live")).is_empty());
        assert!(!violations(&right()[1..], 3, &Letters::of_order("payment", "live")).is_empty());
    }
}
