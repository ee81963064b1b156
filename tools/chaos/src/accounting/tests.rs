//! Two orders in perfect books, one confirmed and one declined; then one thing after another goes wrong, and
//! each must be found.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::books::Books;
use super::store::{Award, Charge, Fact, Item, Mail, Order, Payment, Reservation, Ticket};
use super::{Account, account};
use crate::notes::{Answer, Book, Line, Note, Outcome};

const GOOD: &str = "order-good";
const BAD: &str = "order-bad";
const TOTAL: i64 = 900;

fn note(key: &str, customer: &str, outcomes: Vec<Outcome>) -> Note {
    let book = Book::open();
    let number = book.begin(key.into(), customer.into(), vec![line()], TOTAL);
    for outcome in outcomes {
        book.answered(number, Instant::now(), outcome);
    }
    book.copy().remove(0)
}

fn line() -> Line {
    Line { sku: "latte".into(), quantity: 2 }
}

fn item() -> Item {
    Item { sku: "latte".into(), quantity: 2 }
}

fn ok(order_id: &str) -> Outcome {
    Outcome::Ok(Answer { order_id: order_id.into(), trace_id: "trace".into(), total_cents: TOTAL })
}

fn lost() -> Outcome {
    Outcome::Unknown { why: "no answer in time".into() }
}

/// The confirmed order was answered; the answer of the declined one was lost.
fn notes() -> Vec<Note> {
    vec![note("k-good", "ann", vec![lost(), ok(GOOD)]), note("k-bad", "declined-1", vec![lost()])]
}

fn books() -> Books {
    let mut books = Books::default();
    add(&mut books, GOOD, "k-good", "ann", false);
    add(&mut books, BAD, "k-bad", "declined-1", true);
    books
}

/// Everything that all services write about an order that was confirmed, or cancelled because the card was
/// declined.
fn add(books: &mut Books, id: &str, key: &str, customer: &str, declined: bool) {
    let either = |no: &str, yes: &str| if declined { yes } else { no }.to_owned();
    let (order_id, customer_id) = (id.to_owned(), customer.to_owned());
    books.keys.insert(key.to_owned(), order_id.clone());
    let order = Order {
        order_id: order_id.clone(),
        customer_id: customer_id.clone(),
        items: vec![item()],
        total_cents: TOTAL,
        status: either("confirmed", "cancelled"),
        cancel_reason: declined.then(|| "the card was declined".to_owned()),
        payment: either("captured", "declined"),
        stock: either("reserved", "released"),
        trace_id: "trace".to_owned(),
    };
    books.orders.insert(order_id.clone(), vec![order]);
    let state = either("captured", "declined");
    let payment =
        Payment { order_id: order_id.clone(), customer_id: customer_id.clone(), amount_cents: TOTAL, state };
    books.payments.insert(order_id.clone(), vec![payment]);
    let charge = Charge {
        order_id: order_id.clone(),
        customer: customer_id.clone(),
        amount_cents: TOTAL,
        refunded_cents: 0,
        is_captured: !declined,
    };
    books.charges.insert(order_id.clone(), vec![charge]);
    let state = either("reserved", "released");
    books.reservations.insert(
        order_id.clone(),
        vec![Reservation { order_id: order_id.clone(), state, lines: vec![item()] }],
    );
    let state = either("awarded", "taken_back");
    let award = Award { order_id: order_id.clone(), customer_id: customer_id.clone(), points: 9, state };
    books.awards.insert(order_id.clone(), vec![award]);
    let fact = Fact {
        order_id: order_id.clone(),
        total_cents: TOTAL,
        items: vec![item()],
        confirmed: !declined,
        cancelled: declined,
        captured_cents: if declined { 0 } else { TOTAL },
        refunded_cents: 0,
        is_ready: false,
    };
    books.facts.insert(order_id.clone(), vec![fact]);
    let state = either("waiting", "pulled");
    let ticket = Ticket { order_id: order_id.clone(), customer_id, items: vec![item()], state };
    books.tickets.insert(order_id.clone(), vec![ticket]);
    for kind in if declined { &["cancelled", "received"][..] } else { &["received"] } {
        let message_id = format!("<{kind}.{id}@shop>");
        books.files.insert(message_id.clone(), 1);
        let recipient = format!("{customer}@example.com");
        let mail = Mail { order_id: order_id.clone(), message_id, kind: (*kind).to_owned(), recipient };
        books.mails.entry(order_id.clone()).or_default().push(mail);
    }
}

fn account_of(books: &Books) -> Account {
    account(&notes(), books, &HashSet::new())
}

fn first<'a, T>(rows: &'a mut HashMap<String, Vec<T>>, order: &str) -> &'a mut T {
    &mut rows.get_mut(order).expect("the order")[0]
}

fn doubled<T: Clone>(rows: &mut HashMap<String, Vec<T>>) {
    let rows = rows.get_mut(GOOD).expect("the order");
    rows.push(rows[0].clone());
}

#[test]
fn perfect_books_are_without_offence() {
    let account = account_of(&books());
    assert_eq!(account.offences, []);
    let counts = account.counts;
    assert_eq!((counts.orders, counts.unknown_stored, counts.unknown_without_trace), (2, 1, 0));
    assert_eq!(
        (counts.cancelled["the card was declined"], counts.mails, counts.extra_mail_copies),
        (1, 3, 0)
    );
}

#[test]
fn whatever_goes_wrong_is_found() {
    type Corruption = fn(&mut Books);
    let cases: [(&str, Corruption); 41] = [
        ("order-api: it was accepted and is stored 0 times", |b| drop(b.orders.remove(GOOD))),
        ("order-api: it was accepted and is stored 2 times", |b| doubled(&mut b.orders)),
        ("order-api: its key stands for nothing", |b| drop(b.keys.remove("k-good"))),
        ("order-api: its key stands for order-x", |b| drop(b.keys.insert("k-good".into(), "order-x".into()))),
        ("order-api: it is also the order of the key k-good", |b| {
            b.keys.insert("k-bad".into(), GOOD.into());
        }),
        ("order-api: the customer", |b| first(&mut b.orders, GOOD).customer_id = "eve".into()),
        ("order-api: the list of items", |b| first(&mut b.orders, GOOD).items.clear()),
        ("order-api: the total", |b| first(&mut b.orders, GOOD).total_cents = 1),
        ("order-api: it is not settled", |b| first(&mut b.orders, GOOD).status = "received".into()),
        ("order-api: the payment", |b| first(&mut b.orders, GOOD).payment = "pending".into()),
        ("order-api: the stock", |b| first(&mut b.orders, BAD).stock = "reserved".into()),
        ("order-api: it is confirmed, although", |b| first(&mut b.orders, BAD).status = "confirmed".into()),
        ("payment: the payment is missing", |b| drop(b.payments.remove(GOOD))),
        ("payment: the payment is there 2 times", |b| doubled(&mut b.payments)),
        ("payment: the amount", |b| first(&mut b.payments, BAD).amount_cents = 0),
        ("payment: the state", |b| first(&mut b.payments, GOOD).state = "due".into()),
        ("card-processor: the number of charges", |b| drop(b.charges.remove(GOOD))),
        ("card-processor: the number of charges", |b| doubled(&mut b.charges)),
        ("card-processor: the amount", |b| first(&mut b.charges, GOOD).amount_cents = 1),
        ("card-processor: the customer", |b| first(&mut b.charges, GOOD).customer = "eve".into()),
        ("card-processor: the refunded amount", |b| first(&mut b.charges, GOOD).refunded_cents = TOTAL),
        ("card-processor: the refunded amount", |b| first(&mut b.charges, BAD).is_captured = true),
        ("inventory: the reservation is missing", |b| drop(b.reservations.remove(BAD))),
        ("inventory: the state", |b| first(&mut b.reservations, BAD).state = "reserved".into()),
        ("inventory: what is reserved", |b| first(&mut b.reservations, GOOD).lines[0].quantity = 4),
        ("loyalty: the award is missing", |b| drop(b.awards.remove(GOOD))),
        ("loyalty: the points", |b| first(&mut b.awards, GOOD).points = 18),
        ("loyalty: the state", |b| first(&mut b.awards, BAD).state = "awarded".into()),
        ("analytics: the order is missing", |b| drop(b.facts.remove(GOOD))),
        ("analytics: the total", |b| first(&mut b.facts, GOOD).total_cents = -1),
        ("analytics: (confirmed, cancelled, ready)", |b| first(&mut b.facts, GOOD).confirmed = false),
        ("analytics: cents", |b| first(&mut b.facts, GOOD).captured_cents = 0),
        ("kitchen-display: the ticket is missing", |b| drop(b.tickets.remove(GOOD))),
        ("kitchen-display: the state", |b| first(&mut b.tickets, GOOD).state = "pending".into()),
        ("kitchen-display: the state", |b| first(&mut b.tickets, BAD).state = "waiting".into()),
        ("email: the list of mails", |b| drop(b.mails.remove(GOOD))),
        ("email: the list of mails", |b| drop(b.mails.get_mut(BAD).expect("mails").remove(0))),
        ("email: the recipient", |b| first(&mut b.mails, GOOD).recipient = "eve@example.com".into()),
        ("mailbox: the mail \"received\" never arrived", |b| {
            b.files.remove("<received.order-good@shop>");
        }),
        ("mailbox: <forged@shop> arrived", |b| {
            b.files.insert("<forged@shop>".into(), 1);
        }),
        ("loyalty: no request asked for this order", |b| {
            let award = first(&mut b.awards, GOOD).clone();
            b.awards.insert("order-stranger".into(), vec![award]);
        }),
    ];
    for (found, corrupt) in cases {
        let mut books = books();
        corrupt(&mut books);
        let offences = account_of(&books).offences;
        assert!(offences.iter().any(|offence| offence.what.starts_with(found)), "{found}: {offences:#?}");
    }
}

#[test]
fn an_offence_names_order_trace_and_key_even_if_the_answer_was_lost() {
    let mut books = books();
    books.tickets.remove(BAD);
    let offences = account_of(&books).offences;
    let [offence] = offences.as_slice() else { panic!("{offences:?}") };
    let named = (offence.order_id.as_deref(), offence.trace_id.as_deref(), offence.key.as_deref());
    assert_eq!(named, (Some(BAD), Some("trace"), Some("k-bad")));
}

#[test]
fn a_lost_request_may_have_left_nothing_and_strangers_may_be_expected() {
    let mut notes = notes();
    notes.push(note("k-lost", "bob", vec![lost()]));
    let mut books = books();
    add(&mut books, "order-by-hand", "k-other", "zoe", false);
    let strangers = HashSet::from(["order-by-hand".to_owned()]);
    let checked = account(&notes, &books, &strangers);
    assert_eq!(checked.offences, []);
    assert_eq!(checked.counts.unknown_without_trace, 1);
    assert_eq!(account(&notes, &books, &HashSet::new()).offences.len(), 1);
}

#[test]
fn copies_of_a_mail_are_counted_and_no_offence() {
    let mut books = books();
    books.files.insert("<received.order-good@shop>".into(), 3);
    let account = account_of(&books);
    assert_eq!((account.offences.len(), account.counts.extra_mail_copies), (0, 2));
}

#[test]
fn an_order_refused_for_good_or_answered_twice_is_an_offence() {
    let refused = Outcome::Failed { status: 422, why: "no".into() };
    let notes = [note("k-1", "ann", vec![refused]), note("k-good", "ann", vec![ok(GOOD), ok(BAD)])];
    let offences = account(&notes, &books(), &HashSet::new()).offences;
    let found = |what: &str| offences.iter().any(|offence| offence.what.starts_with(what));
    assert!(found("client: a valid order was refused with 422"), "{offences:?}");
    assert!(found("client: its key was also answered with the order order-bad"), "{offences:?}");
}
