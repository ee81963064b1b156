//! Invariant 6, second half: the figures of analytics against a recomputation from the orders.

use std::collections::{BTreeMap, HashMap};

use events::{Cents, Item};

use super::letters::Letters;
use super::order::{Orders, Status};
use super::report::Check;
use super::store::{FactRow, ItemTotal, Totals};
use super::stream::StreamLog;

/// What analytics should know of one order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fact {
    /// `None` until it was created.
    total: Option<i64>,
    items: Vec<Item>,
    confirmed: bool,
    cancelled: bool,
    ready: bool,
    captured: i64,
    refunded: i64,
}

/// The tables of analytics.
pub struct Figures {
    pub facts: Vec<FactRow>,
    pub totals: Totals,
    pub items: Vec<ItemTotal>,
}

/// 6. Facts equal the orders, and the totals equal the sum over all facts due.
pub fn equal_recomputation(
    check: &mut Check,
    orders: &Orders,
    log: &StreamLog,
    letters: &Letters,
    figures: &Figures,
) {
    let mut due = due_from(orders, log);
    let mut as_found = 0;
    let rows: HashMap<&str, &FactRow> =
        figures.facts.iter().map(|row| (row.order_id.as_str(), row)).collect();
    let nothing = Fact::default();
    due.retain(|id, fact| {
        let has_row = rows.contains_key(id.as_str());
        // What analytics hears and does not count (stock, tickets) leaves no row.
        has_row || (*fact != nothing && !letters.explain_order(&["analytics"], id))
    });
    for row in &figures.facts {
        let id = &row.order_id;
        let told = log.orders.get(id);
        let explained = letters.explain_order(&["analytics"], id)
            || told.is_some_and(|told| told.contradictory)
            || (log.forgetful && !due.contains_key(id));
        if explained {
            as_found += 1;
            due.insert(id.clone(), Fact::found(row));
        } else if !due.contains_key(id) {
            check.violation(id, "analytics knows this order, and nobody placed it");
        } else if log.forgetful
            && let Some(fact) = due.get_mut(id)
        {
            // What was paid is known from the stream alone, which may not remember.
            (fact.captured, fact.refunded) = (row.captured_cents, row.refunded_cents);
        }
    }
    for (id, fact) in &due {
        compare_fact(check, id, fact, rows.get(id.as_str()).copied());
    }
    compare_totals(check, &due, &figures.totals);
    compare_times(check, &figures.facts, &figures.totals);
    compare_items(check, &due, &figures.items);
    check.note(
        as_found,
        "orders' figures cannot be recomputed (buried, contradictory or forgotten by the stream)",
    );
}

impl Fact {
    fn found(row: &FactRow) -> Fact {
        let items = row.items.as_deref().and_then(|items| serde_json::from_str(items).ok());
        Fact {
            total: row.total_cents,
            items: items.unwrap_or_default(),
            confirmed: row.confirmed,
            cancelled: row.cancelled,
            ready: row.is_ready,
            captured: row.captured_cents,
            refunded: row.refunded_cents,
        }
    }

    /// Counts towards revenue and best sellers.
    fn sells(&self) -> bool {
        self.total.is_some() && !self.cancelled
    }
}

fn due_from(orders: &Orders, log: &StreamLog) -> HashMap<String, Fact> {
    let paid =
        |id: &str| log.orders.get(id).map_or((0, 0), |told| (told.captured_cents, told.refunded_cents));
    let ours = orders.iter().map(|(id, order)| {
        let (captured, refunded) = paid(id);
        let fact = Fact {
            total: Some(order.total_cents),
            items: order.items.clone(),
            confirmed: order.status.is_confirmed(),
            cancelled: order.status == Status::Cancelled,
            ready: order.status == Status::Ready,
            captured,
            refunded,
        };
        (id.clone(), fact)
    });
    let by_hand = log.foreign(orders).map(|(id, told)| {
        let fact = Fact {
            total: told.created.as_ref().map(|created| created.total.0),
            items: told.items().to_vec(),
            confirmed: told.confirmed,
            cancelled: told.cancelled,
            ready: told.ready,
            captured: told.captured_cents,
            refunded: told.refunded_cents,
        };
        (id.clone(), fact)
    });
    ours.chain(by_hand).collect()
}

fn compare_fact(check: &mut Check, id: &str, fact: &Fact, row: Option<&FactRow>) {
    let Some(row) = row else {
        check.checked += 1;
        return check.violation(id, "unknown to analytics");
    };
    // Items are compared as totals; reading them for every order would cost more than it tells.
    let found = Fact { items: fact.items.clone(), ..Fact::found(&FactRow { items: None, ..row.clone() }) };
    check.checked += 1;
    if found != *fact {
        check.violation(id, format!("figures: expected {}, found {}", fact.in_words(), found.in_words()));
    }
}

impl Fact {
    fn in_words(&self) -> String {
        let total = self.total.map_or("no total".to_owned(), |total| format!("total {}", Cents(total)));
        let flags = [(self.confirmed, "confirmed"), (self.cancelled, "cancelled"), (self.ready, "ready")];
        let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| format!(", {name}")).collect();
        format!("{total}, captured {}, refunded {}{flags}", Cents(self.captured), Cents(self.refunded))
    }
}

fn compare_totals(check: &mut Check, due: &HashMap<String, Fact>, totals: &Totals) {
    let count = |is: fn(&Fact) -> bool| due.values().filter(|fact| is(fact)).count() as i64;
    let about = "analytics totals";
    check.expect(about, "orders", count(|fact| fact.total.is_some()), totals.orders);
    check.expect(about, "confirmed", count(|fact| fact.confirmed), totals.confirmed);
    check.expect(about, "cancelled", count(|fact| fact.cancelled), totals.cancelled);
    check.expect(about, "ready", count(|fact| fact.ready), totals.ready);
    let gross: i64 = due.values().filter(|fact| fact.sells()).filter_map(|fact| fact.total).sum();
    check.expect(about, "gross", Cents(gross), Cents(totals.gross_cents));
    let captured: i64 = due.values().map(|fact| fact.captured).sum();
    check.expect(about, "captured", Cents(captured), Cents(totals.captured_cents));
    let refunded: i64 = due.values().map(|fact| fact.refunded).sum();
    check.expect(about, "refunded", Cents(refunded), Cents(totals.refunded_cents));
}

/// When something happened is told by its event alone, so times are compared within analytics.
fn compare_times(check: &mut Check, facts: &[FactRow], totals: &Totals) {
    let times = || facts.iter().filter_map(|row| row.micros_to_ready);
    check.expect("analytics totals", "orders timed", times().count() as i64, totals.timed);
    check.expect("analytics totals", "microseconds to ready", times().sum::<i64>(), totals.micros_to_ready);
}

fn compare_items(check: &mut Check, due: &HashMap<String, Fact>, found: &[ItemTotal]) {
    let mut expected: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for item in due.values().filter(|fact| fact.sells()).flat_map(|fact| &fact.items) {
        let (quantity, cents) = expected.entry(&item.name).or_default();
        *quantity += i64::from(item.quantity);
        *cents += (item.price * item.quantity).0;
    }
    let words = |(quantity, cents): (i64, i64)| format!("{quantity} for {}", Cents(cents));
    for row in found {
        let sold = expected.remove(row.name.as_str()).unwrap_or_default();
        check.expect(&row.name, "sold", words(sold), words((row.quantity, row.cents)));
    }
    for (name, sold) in expected {
        check.expect(name, "sold", words(sold), words((0, 0)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::sample::orders;
    use super::super::stream::sample;
    use super::*;

    fn row(order: &str, total: i64, cancelled: bool) -> FactRow {
        FactRow {
            order_id: order.into(),
            total_cents: Some(total),
            items: None,
            confirmed: !cancelled && order != "hand",
            cancelled,
            captured_cents: 0,
            refunded_cents: 0,
            is_ready: order == "live",
            micros_to_ready: (order == "live").then_some(90_000_000),
        }
    }

    fn figures() -> Figures {
        let sold = |name: &str, quantity, cents| ItemTotal { name: name.into(), quantity, cents };
        Figures {
            facts: vec![row("live", 1180, false), row("gone", 1180, true), row("hand", 300, false)],
            totals: Totals {
                orders: 3,
                confirmed: 1,
                cancelled: 1,
                ready: 1,
                gross_cents: 1480,
                captured_cents: 0,
                refunded_cents: 0,
                timed: 1,
                micros_to_ready: 90_000_000,
            },
            items: vec![sold("Latte", 3, 1200), sold("Espresso", 1, 280)],
        }
    }

    fn violations(figures: &Figures, letters: &Letters) -> Vec<String> {
        let orders = orders(&[("live", Status::Ready), ("gone", Status::Cancelled)]);
        let log = sample::log(&[sample::created("hand", 300)], &orders);
        let mut check = Check::of(6);
        equal_recomputation(&mut check, &orders, &log, letters, figures);
        let mut about: Vec<_> = check.named.into_iter().map(|violation| violation.about).collect();
        about.sort_unstable();
        about
    }

    type Change = fn(&mut Figures);

    #[test]
    fn wrong_figures_are_found() {
        let none = Letters::default();
        assert!(violations(&figures(), &none).is_empty());
        let changes: [(Change, &[&str]); 8] = [
            (|f| f.totals.orders = 2, &["analytics totals"]),
            (|f| f.totals.gross_cents += 1, &["analytics totals"]),
            (|f| f.totals.timed = 2, &["analytics totals"]),
            (|f| f.totals.micros_to_ready = 0, &["analytics totals"]),
            (|f| f.items[0].cents += 1, &["Latte"]),
            (|f| drop(f.items.pop()), &["Espresso"]),
            (|f| f.facts[0].total_cents = Some(1), &["live"]),
            (|f| f.facts[1].captured_cents = 5, &["gone"]),
        ];
        for (change, expected) in changes {
            let mut changed = figures();
            change(&mut changed);
            assert_eq!(violations(&changed, &none), expected);
        }
    }

    #[test]
    fn a_missing_or_an_invented_order_is_found_unless_buried() {
        let mut missing = figures();
        missing.facts.remove(1);
        assert_eq!(violations(&missing, &Letters::default()), ["gone"]);
        missing.totals.orders = 2;
        missing.totals.cancelled = 0;
        assert!(violations(&missing, &Letters::of_order("analytics", "gone")).is_empty());
        let mut invented = figures();
        invented.facts.push(row("ghost", 1, false));
        assert_eq!(violations(&invented, &Letters::default()), ["ghost"]);
    }
}
