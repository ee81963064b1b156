//! Invariant 3: the card processor's own ledger against the orders. Dead letters excuse nothing here: money
//! taken wrongly is wrong, whoever knows why.

use std::collections::HashMap;

use events::Cents;

use super::letters::Letters;
use super::order::{Orders, Status};
use super::report::Check;
use super::store::Charge;
use super::stream::StreamLog;

/// What should be in the ledger for one order.
enum Due {
    /// Exactly one charge, kept.
    Paid(i64),
    /// At most one charge, kept.
    Open(i64),
    /// At most one charge, given back.
    Nothing(i64),
}

/// 3. At most one successful charge per order, of the right amount; none left for a cancelled order.
///
/// `charges`: those that succeeded.
pub fn charged_once(orders: &Orders, log: &StreamLog, letters: &Letters, charges: &[Charge]) -> Check {
    let mut check = Check::of(3);
    let mut by_order: HashMap<&str, Vec<&Charge>> = HashMap::new();
    for charge in charges {
        by_order.entry(&charge.reference).or_default().push(charge);
    }
    for (id, order) in orders {
        let total = order.total_cents;
        let due = match order.status {
            Status::Cancelled => Due::Nothing(total),
            status if status.is_confirmed() => Due::Paid(total),
            _ => Due::Open(total),
        };
        let charges = by_order.remove(id.as_str()).unwrap_or_default();
        compare(&mut check, id, due, &charges, letters);
    }
    let mut by_hand = 0;
    let mut forgotten = 0;
    for (id, charges) in by_order {
        match log.orders.get(id) {
            Some(told) if told.contradictory => by_hand += 1,
            Some(told) if told.created.is_some() => {
                by_hand += 1;
                let total = told.created.as_ref().map_or(0, |created| created.total.0);
                let due = if told.cancelled { Due::Nothing(total) } else { Due::Open(total) };
                compare(&mut check, id, due, &charges, letters);
            }
            _ if log.forgetful => forgotten += 1,
            _ => check.violation(id, format!("{} charges for an order nobody placed", charges.len())),
        }
    }
    check.note(by_hand, "charged orders were published by hand");
    check.note(forgotten, "charged orders are neither stored nor in the stream any more");
    check
}

fn compare(check: &mut Check, id: &str, due: Due, charges: &[&Charge], letters: &Letters) {
    check.checked += 1;
    let (Due::Paid(total) | Due::Open(total) | Due::Nothing(total)) = due;
    if charges.len() > 1 {
        let ids: Vec<&str> = charges.iter().map(|charge| charge.charge_id.as_str()).collect();
        check.violation(id, format!("expected one charge, found {}: {}", charges.len(), ids.join(", ")));
    }
    if charges.is_empty() && matches!(due, Due::Paid(_)) {
        check.violation(id, format!("confirmed without a charge of {}", Cents(total)));
    }
    for charge in charges {
        let name = &charge.charge_id;
        if charge.amount_cents != total {
            let found = Cents(charge.amount_cents);
            check.violation(id, format!("charge {name}: expected {}, found {found}", Cents(total)));
        }
        let kept = charge.amount_cents - charge.refunded_cents;
        match due {
            Due::Nothing(_) if kept != 0 => {
                let buried = letters.explain_order(&["payment"], id);
                let hint = if buried { "; payment buried its event, redrive it" } else { "" };
                check
                    .violation(id, format!("cancelled, but {} of charge {name} are kept{hint}", Cents(kept)));
            }
            Due::Paid(_) | Due::Open(_) if charge.refunded_cents != 0 => {
                let back = Cents(charge.refunded_cents);
                check.violation(id, format!("not cancelled, but {back} of charge {name} were given back"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::orders;
    use super::super::stream::sample;
    use super::*;

    fn charge(order: &str, amount: i64, refunded: i64) -> Charge {
        Charge {
            charge_id: format!("charge-of-{order}"),
            reference: order.into(),
            amount_cents: amount,
            refunded_cents: refunded,
        }
    }

    fn problems(charges: &[Charge]) -> Vec<String> {
        let orders =
            orders(&[("paid", Status::Ready), ("gone", Status::Cancelled), ("new", Status::Received)]);
        let log = sample::log(&[sample::created("hand", 300)], &orders);
        let check = charged_once(&orders, &log, &Letters::default(), charges);
        check
            .named
            .into_iter()
            .map(|violation| format!("{}: {}", violation.about, violation.problem))
            .collect()
    }

    #[test]
    fn right_charges_pass() {
        assert!(
            problems(&[charge("paid", 1180, 0), charge("gone", 1180, 1180), charge("hand", 300, 0)])
                .is_empty()
        );
        assert!(problems(&[charge("paid", 1180, 0), charge("new", 1180, 0)]).is_empty());
    }

    #[test]
    fn every_wrong_charge_is_found() {
        let cases = [
            (vec![], "paid: confirmed without a charge of 11.80"),
            (vec![charge("paid", 1180, 0), charge("paid", 1180, 0)], "paid: expected one charge, found 2"),
            (vec![charge("paid", 1, 0)], "paid: charge charge-of-paid: expected 11.80, found 0.01"),
            (vec![charge("paid", 1180, 1180)], "paid: not cancelled, but 11.80"),
            (vec![charge("paid", 1180, 0), charge("gone", 1180, 0)], "gone: cancelled, but 11.80"),
            (
                vec![charge("paid", 1180, 0), charge("hand", 1, 0)],
                "hand: charge charge-of-hand: expected 3.00",
            ),
            (
                vec![charge("paid", 1180, 0), charge("ghost", 1, 0)],
                "ghost: 1 charges for an order nobody placed",
            ),
        ];
        for (charges, expected) in cases {
            let found = problems(&charges);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}: {found:?}");
        }
    }
}
