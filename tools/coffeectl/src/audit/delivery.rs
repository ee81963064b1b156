//! Invariant 9: nothing on its way and nothing lost. Every message of the stream is compared with the inbox
//! and the dead letters of every consumer that hears it.

use std::collections::HashSet;

use events::topology::ConsumerSpec;

use super::letters::Letters;
use super::report::Check;
use super::store::Attempt;
use super::stream::{Entry, EventKey, StreamLog};

/// A message that a consumer hears and has neither processed nor buried.
pub struct Missing {
    pub consumer: &'static str,
    pub entry: Entry,
}

/// What of the stream one consumer has neither in its inbox nor in its dead letters. Counts what it compares.
pub fn missing(
    check: &mut Check,
    spec: &'static ConsumerSpec,
    log: &StreamLog,
    inbox: &HashSet<EventKey>,
    letters: &Letters,
) -> Vec<Missing> {
    let heard: Vec<bool> = log.subjects().iter().map(|subject| spec.is_heard(subject)).collect();
    let mut missing = Vec::new();
    for entry in log.entries.iter().filter(|entry| heard[log.subject_number(entry)]) {
        check.checked += 1;
        let done =
            inbox.contains(&entry.event) || letters.explain_event(spec.name, entry.event, entry.sequence);
        if !done {
            missing.push(Missing { consumer: spec.name, entry: *entry });
        }
    }
    missing
}

/// Tries that neither succeeded nor ended in a dead letter.
pub fn half_done(check: &mut Check, service: &str, attempts: &[Attempt]) {
    for attempt in attempts {
        let Attempt { consumer, event_id, attempts } = attempt;
        check.violation(
            event_id,
            format!("half done: tried {attempts} times by {consumer} (table attempts of {service})"),
        );
    }
}

#[cfg(test)]
mod tests {
    use events::topology::{EMAIL, LOYALTY, ORDER_API, PAYMENT};

    use super::super::order::Orders;
    use super::super::stream::sample;
    use super::*;

    fn count(
        spec: &'static ConsumerSpec,
        log: &StreamLog,
        inbox: &[EventKey],
        letters: &Letters,
    ) -> (u64, usize) {
        let mut check = Check::of(9);
        let found = missing(&mut check, spec, log, &inbox.iter().copied().collect(), letters);
        (check.checked, found.len())
    }

    #[test]
    fn a_lost_event_is_found_unless_it_was_processed_or_buried() {
        let event = sample::created("a", 450);
        let key = EventKey::of(event.id.as_str());
        let log = sample::log(std::slice::from_ref(&event), &Orders::new());
        let none = Letters::default();
        assert_eq!(count(&PAYMENT, &log, &[], &none), (1, 1));
        assert_eq!(count(&PAYMENT, &log, &[key], &none), (1, 0));
        assert_eq!(count(&PAYMENT, &log, &[], &Letters::of_event("payment", event.id.as_str(), 1)), (1, 0));
        assert_eq!(count(&PAYMENT, &log, &[], &Letters::of_event("email", event.id.as_str(), 1)), (1, 1));
        assert_eq!(count(&ORDER_API, &log, &[], &none), (0, 0), "it does not hear it");
    }

    #[test]
    fn an_unreadable_message_must_be_in_the_dead_letters_of_all_who_hear_it() {
        let mut log = StreamLog::new([]);
        log.add(5, "orders.created", None, b"not an event", &Orders::new());
        let letters = Letters::of_event("email", "ORDERS:5", 5);
        assert_eq!(count(&EMAIL, &log, &[], &letters), (1, 0));
        assert_eq!(count(&LOYALTY, &log, &[], &letters), (1, 1));
    }

    #[test]
    fn a_redriven_event_counts_for_its_consumer_alone() {
        let event = sample::created("a", 450);
        let mut log = StreamLog::new([]);
        log.add(9, "orders.redrive.payment.0", None, &event.encode(), &Orders::new());
        assert_eq!(count(&PAYMENT, &log, &[], &Letters::default()), (1, 1));
        assert_eq!(count(&LOYALTY, &log, &[], &Letters::default()), (0, 0));
    }

    #[test]
    fn a_half_done_try_is_found() {
        let mut check = Check::of(9);
        half_done(
            &mut check,
            "payment",
            &[Attempt { consumer: "payment".into(), event_id: "e".into(), attempts: 2 }],
        );
        assert_eq!(check.violations, 1);
    }
}
