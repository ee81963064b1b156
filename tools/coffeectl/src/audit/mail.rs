//! Invariant 10: customers were told that their order arrived.

use std::collections::HashSet;

use super::letters::Letters;
use super::report::Check;
use super::store::Mail;
use super::stream::{EventKey, StreamLog};

/// Either of them may have given up on the mail.
const CONCERNED: [&str; 2] = ["email", "email-worker"];

/// 10. At least one confirmation email per order that email has heard of; extra copies are counted.
///
/// `inbox`: of the consumer email. `mails`: those of kind `received`.
pub fn at_least_one(log: &StreamLog, inbox: &HashSet<EventKey>, letters: &Letters, mails: &[Mail]) -> Check {
    let mut check = Check::of(10);
    let sent: HashSet<&str> = mails.iter().map(|mail| mail.order_id.as_str()).collect();
    let mut explained = 0;
    for (id, told) in &log.orders {
        if !told.created_by.is_some_and(|event| inbox.contains(&event)) {
            continue;
        }
        check.checked += 1;
        if sent.contains(id.as_str()) {
            continue;
        }
        if letters.explain_order(&CONCERNED, id) {
            explained += 1;
        } else {
            check.violation(id, "expected at least one confirmation email, found none");
        }
    }
    let extra: i64 = mails.iter().map(|mail| i64::from(mail.copies) - 1).sum();
    check.note(
        usize::try_from(extra).unwrap_or(0),
        "extra copies of mails were sent, under the same Message-ID",
    );
    check.note(explained, "mails could not be sent and are in the dead letters");
    check
}

#[cfg(test)]
mod tests {
    use super::super::order::Orders;
    use super::super::stream::sample;
    use super::*;

    #[test]
    fn a_missing_mail_is_found_and_extra_copies_are_counted() {
        let event = sample::created("a", 450);
        let log = sample::log(std::slice::from_ref(&event), &Orders::new());
        let inbox = HashSet::from([EventKey::of(event.id.as_str())]);
        let none = Letters::default();
        assert_eq!(at_least_one(&log, &inbox, &none, &[]).named[0].about, "a");
        let mail = |copies| Mail { order_id: "a".into(), copies };
        let check = at_least_one(&log, &inbox, &none, &[mail(3)]);
        assert_eq!((check.violations, check.notes.len()), (0, 1));
        assert_eq!(at_least_one(&log, &inbox, &none, &[mail(0)]).violations, 0);
        assert_eq!(at_least_one(&log, &inbox, &Letters::of_order("email-worker", "a"), &[]).violations, 0);
        assert_eq!(at_least_one(&log, &HashSet::new(), &none, &[]).checked, 0, "email never heard of it");
    }
}
