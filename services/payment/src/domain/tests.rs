//! A small shop in which everything that can go wrong with one order does, in any order: events repeated and
//! swapped, answers lost, requests that arrive late, processes that die. Its end must not depend on that.

use events::{Item, OrderCancelled, OrderCreated};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Created,
    Cancelled,
    /// Somebody begins a call; also when an earlier one is still under way and its claim ran out.
    Claim,
    /// A call under way ends so.
    Answered(usize),
    AnswerLost(usize),
    /// The caller gives up, and the request arrives later.
    GivenUp(usize),
    NotReached(usize),
    /// The processor, or something before it, refuses the request.
    Refused(usize),
    /// The caller dies; the request may still arrive.
    Killed(usize),
    /// A late request arrives.
    Arrives(usize),
}

#[derive(Default)]
struct Processor {
    declines: bool,
    charged: bool,
    refunded: bool,
}

impl Processor {
    fn carry_out(&mut self, payment: &Payment) -> Outcome {
        if payment.state == State::RefundDue {
            self.refunded = true;
            return Outcome::Refunded;
        }
        if self.declines {
            return Outcome::Declined { reason: "no".into() };
        }
        self.charged = true;
        Outcome::Captured { charge_id: "ch_1".into() }
    }
}

struct Call {
    payment: Payment,
    was_uncertain: bool,
}

#[derive(Default)]
struct Shop {
    payment: Option<Payment>,
    under_way: Vec<Call>,
    late: Vec<Payment>,
    processor: Processor,
    said: Vec<&'static str>,
}

impl Shop {
    fn take(&mut self, step: Step) {
        match step {
            Step::Created => self.hear(&created()),
            Step::Cancelled => self.hear(&cancelled()),
            Step::Claim => self.claim(),
            Step::Answered(n) => {
                if let Some(call) = self.call(n) {
                    let outcome = self.processor.carry_out(&call.payment);
                    self.learn(call, outcome);
                }
            }
            Step::AnswerLost(n) => {
                if let Some(call) = self.call(n) {
                    self.processor.carry_out(&call.payment);
                    self.learn(call, Outcome::Unknown);
                }
            }
            Step::GivenUp(n) => {
                if let Some(call) = self.call(n) {
                    self.late.push(call.payment.clone());
                    self.learn(call, Outcome::Unknown);
                }
            }
            Step::NotReached(n) => {
                if let Some(call) = self.call(n) {
                    self.learn(call, Outcome::NotReached);
                }
            }
            Step::Refused(n) => {
                if let Some(call) = self.call(n) {
                    self.learn(call, Outcome::Refused { why: "403".into() });
                }
            }
            Step::Killed(n) => {
                if let Some(call) = self.call(n) {
                    self.late.push(call.payment);
                }
            }
            Step::Arrives(n) => {
                if !self.late.is_empty() {
                    let late = self.late.remove(n % self.late.len());
                    self.processor.carry_out(&late);
                }
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        if let Some(next) = hear(self.payment.as_ref(), event, &trace()) {
            self.payment = Some(next);
        }
    }

    fn claim(&mut self) {
        let Some(payment) = &mut self.payment else { return };
        if matches!(payment.state, State::Due | State::Cancelling | State::RefundDue) {
            let was_uncertain = payment.uncertain;
            *payment = payment.attempted(Duration::from_secs(4));
            self.under_way.push(Call { payment: payment.clone(), was_uncertain });
        }
    }

    fn call(&mut self, n: usize) -> Option<Call> {
        (!self.under_way.is_empty()).then(|| self.under_way.remove(n % self.under_way.len()))
    }

    fn learn(&mut self, call: Call, outcome: Outcome) {
        let attempt = Attempt {
            order_id: call.payment.order_id,
            number: call.payment.attempts,
            was_uncertain: call.was_uncertain,
            outcome,
        };
        let payment = self.payment.clone().expect("a call was made for it");
        if let Some((next, said)) = payment.learn(&attempt) {
            self.said.extend(said.map(|data| data.event_type().as_str()));
            self.payment = Some(next);
        }
    }

    /// Everything heals: events not yet delivered are, calls succeed, late requests arrive.
    fn settle(&mut self, is_cancelled: bool) {
        self.take(Step::Created);
        if is_cancelled {
            self.take(Step::Cancelled);
        }
        for _ in 0..3 {
            self.take(Step::Claim);
            while !self.under_way.is_empty() {
                self.take(Step::Answered(0));
            }
        }
        while !self.late.is_empty() {
            self.take(Step::Arrives(0));
        }
    }
}

fn trace() -> TraceContext {
    TraceContext::from_parts(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None)
}

fn order_id() -> OrderId {
    "o-1".to_owned().try_into().expect("valid")
}

fn customer_id() -> CustomerId {
    "ann".to_owned().try_into().expect("valid")
}

fn created() -> Event {
    let items = vec![Item { name: "Latte".into(), sku: None, price: Cents(450), quantity: 1 }];
    let (order_id, customer_id) = (order_id(), customer_id());
    Event::new(OrderCreated { order_id, customer_id, email: None, items, total: Cents(450) }, Some(1))
}

fn cancelled() -> Event {
    let (order_id, customer_id) = (order_id(), customer_id());
    Event::new(OrderCancelled { order_id, customer_id, email: None, reason: "late".into() }, Some(2))
}

fn step(may_cancel: bool) -> impl Strategy<Value = Step> {
    let call = || 0..4_usize;
    prop_oneof![
        2 => Just(Step::Created),
        2 => Just(if may_cancel { Step::Cancelled } else { Step::Created }),
        4 => Just(Step::Claim),
        2 => call().prop_map(Step::Answered),
        2 => call().prop_map(Step::AnswerLost),
        2 => call().prop_map(Step::GivenUp),
        2 => call().prop_map(Step::NotReached),
        1 => call().prop_map(Step::Refused),
        1 => call().prop_map(Step::Killed),
        1 => call().prop_map(Step::Arrives),
    ]
}

fn story() -> impl Strategy<Value = (bool, bool, Vec<Step>)> {
    any::<bool>().prop_flat_map(|is_cancelled| {
        let steps = proptest::collection::vec(step(is_cancelled), 0..30);
        (Just(is_cancelled), any::<bool>(), steps)
    })
}

proptest! {
    #[test]
    fn no_event_can_make_it_panic(events in proptest::collection::vec(testing::arbitrary::event(), 1..12)) {
        let payment = events.iter().fold(None, |payment: Option<Payment>, event| {
            hear(payment.as_ref(), event, &trace()).or(payment)
        });
        if let Some(payment) = payment {
            let outcome = Outcome::Captured { charge_id: "ch_1".into() };
            let number = payment.attempts;
            let order_id = payment.order_id.clone();
            payment.learn(&Attempt { order_id, number, was_uncertain: true, outcome });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_the_money_is_right_and_said_once((is_cancelled, declines, steps) in story()) {
        let mut shop = Shop { processor: Processor { declines, ..Processor::default() }, ..Shop::default() };
        steps.into_iter().for_each(|step| shop.take(step));
        shop.settle(is_cancelled);

        let payment = shop.payment.expect("it was heard of");
        let books = (shop.processor.charged, shop.processor.refunded);
        let (expected, said): (_, &[&str]) = match payment.state {
            State::Captured if !is_cancelled => ((true, false), &["PaymentCaptured"]),
            State::Declined => ((false, false), &["PaymentDeclined"]),
            State::Refunded if is_cancelled => ((true, true), &["PaymentCaptured", "PaymentRefunded"]),
            State::Cancelled if is_cancelled => ((false, false), &[]),
            state => panic!("ended as {state:?}, cancelled: {is_cancelled}"),
        };
        prop_assert_eq!((books, &shop.said[..]), (expected, said));
        prop_assert_eq!((payment.customer_id, payment.amount), (customer_id(), Cents(450)));
    }

    #[test]
    fn events_alone_end_the_same_in_every_order(swapped in any::<bool>(), repeats in proptest::collection::vec(any::<bool>(), 0..8)) {
        let mut shop = Shop::default();
        let mut both = [Step::Created, Step::Cancelled];
        if swapped {
            both.reverse();
        }
        let repeats = repeats.into_iter().map(|first| both[usize::from(first)]);
        [both[0]].into_iter().chain(repeats).chain([both[1]]).for_each(|step| shop.take(step));
        let Payment { state, amount, uncertain, attempts, .. } = shop.payment.expect("it was heard of");
        prop_assert_eq!((state, amount, uncertain, attempts), (State::Cancelled, Cents(450), false, 0));
    }
}

#[test]
fn an_order_cancelled_while_the_processor_is_down_is_never_charged() {
    let mut shop = Shop::default();
    for step in [Step::Created, Step::Claim, Step::NotReached(0), Step::Cancelled, Step::Claim] {
        shop.take(step);
    }
    assert_eq!(shop.payment.expect("heard of").state, State::Cancelled);
}

#[test]
fn a_refused_charge_is_declined_and_a_refused_refund_stays_owed() {
    let mut shop = Shop::default();
    let refused = || Outcome::Refused { why: "422".into() };
    for step in [Step::Created, Step::Claim, Step::Answered(0), Step::Cancelled, Step::Claim] {
        shop.take(step);
    }
    let call = shop.call(0).expect("the refund");
    shop.learn(call, refused());
    assert_eq!(shop.payment.as_ref().map(|payment| payment.state), Some(State::RefundDue));

    let mut shop = Shop::default();
    shop.take(Step::Created);
    shop.take(Step::Claim);
    let call = shop.call(0).expect("the charge");
    shop.learn(call, refused());
    assert_eq!(shop.said, ["PaymentDeclined"]);
}

#[test]
fn a_charge_that_may_have_been_made_is_not_given_up_because_the_next_is_refused() {
    let mut shop = Shop::default();
    for step in
        [Step::Created, Step::Claim, Step::AnswerLost(0), Step::Claim, Step::Refused(0), Step::Cancelled]
    {
        shop.take(step);
    }
    assert!(shop.said.is_empty());
    shop.settle(true);
    assert_eq!(shop.payment.expect("heard of").state, State::Refunded);
    assert!(shop.processor.refunded);
}

#[test]
fn waits_between_tries_grow_to_a_second() {
    assert_eq!(retry_delay(1), Duration::from_millis(100));
    assert_eq!(retry_delay(3), Duration::from_millis(400));
    assert_eq!(retry_delay(i32::MAX), Duration::from_secs(1));
}
