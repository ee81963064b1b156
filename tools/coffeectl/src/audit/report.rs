//! What the audit found. Violations are all counted; of each invariant the first few are named.

use serde::Serialize;

/// Violations named per invariant. More would hide the other invariants on a screen.
const NAMED: usize = 20;

pub const INVARIANTS: [&str; 10] = [
    "every order exists; an idempotency key made at most one",
    "each order has exactly one OrderCreated in the outbox",
    "each order is charged once, rightly; nothing is left of a cancelled one",
    "every order is settled, or its event is in the dead letters",
    "stock = initial − reserved for live orders; never negative",
    "points and figures equal a recomputation from the orders",
    "a confirmed order has one live ticket; a cancelled one none",
    "an order's status never moves backwards",
    "nothing unpublished, unread or half done; every event at every consumer",
    "each order was confirmed by email; extra copies are counted",
];

/// One invariant and what contradicts it.
#[derive(Debug, Serialize)]
pub struct Check {
    pub number: usize,
    pub invariant: &'static str,
    /// How many things were compared.
    pub checked: u64,
    pub violations: u64,
    /// The first of them.
    pub named: Vec<Violation>,
    /// Worth knowing, and no violation.
    pub notes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The order, or what else it is about.
    pub about: String,
    /// What was expected and what was found.
    pub problem: String,
}

impl Check {
    pub fn of(number: usize) -> Check {
        Check {
            number,
            invariant: INVARIANTS[number - 1],
            checked: 0,
            violations: 0,
            named: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn violation(&mut self, about: &str, problem: impl Into<String>) {
        self.violations += 1;
        if self.has_room() {
            self.named.push(Violation { about: about.to_owned(), problem: problem.into() });
        }
    }

    /// Whether another violation would still be named.
    pub fn has_room(&self) -> bool {
        self.named.len() < NAMED
    }

    /// Counts a comparison; a difference is a violation.
    pub fn expect<T: PartialEq + std::fmt::Display>(
        &mut self,
        about: &str,
        what: &str,
        expected: T,
        found: T,
    ) {
        self.checked += 1;
        if expected != found {
            self.violation(about, format!("{what}: expected {expected}, found {found}"));
        }
    }

    /// Kept only when there is something to count.
    pub fn note(&mut self, count: usize, text: &str) {
        if count > 0 {
            self.notes.push(format!("{count} {text}"));
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub holds: bool,
    /// Why the shop was not quiet when the checks began; empty when it was.
    pub busy: Vec<String>,
    pub checks: Vec<Check>,
}

impl Report {
    pub fn new(busy: Vec<String>, checks: Vec<Check>) -> Report {
        let holds = busy.is_empty() && checks.iter().all(|check| check.violations == 0);
        Report { holds, busy, checks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_violations_are_counted_and_the_first_are_named() {
        let mut check = Check::of(1);
        for n in 0..100 {
            check.expect(&format!("order-{n}"), "charges", 1, 2);
        }
        assert_eq!((check.checked, check.violations, check.named.len()), (100, 100, NAMED));
        assert_eq!(check.named[0].problem, "charges: expected 1, found 2");
        assert!(!Report::new(Vec::new(), vec![check]).holds);
    }

    #[test]
    fn a_shop_that_does_not_come_to_rest_does_not_hold() {
        assert!(!Report::new(vec!["payment is 3 behind".into()], Vec::new()).holds);
        assert!(Report::new(Vec::new(), vec![Check::of(1)]).holds);
    }
}
