//! What a charge is, who is declined, and when two requests are the same one: pure decisions.

use events::Cents;
use service::problem::FieldError;
use uuid::Uuid;

use crate::fields::Fields;

/// Customers whose id begins so are always declined, like the test card numbers of real processors.
const ALWAYS_DECLINED: &str = "declined";
const DECLINED: &str = "the card was declined by the bank that issued it";

const MAX_ID_BYTES: usize = 128;

/// What a caller asks for. An amount of zero is booked like any other: card companies know it as an account
/// check, and a free order then needs no special path in the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's own name for what is paid: the order id.
    pub reference: String,
    pub customer: String,
    pub amount: Cents,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Captured,
    Declined { reason: String },
}

/// A charge as it stands in the ledger. Status and request never change; a refund is only added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub id: String,
    pub idempotency_key: String,
    pub request: Request,
    pub status: Status,
}

/// What is to be said to a request for a refund that could not be booked afresh.
#[derive(Debug, PartialEq, Eq)]
pub enum NoNewRefund {
    /// It is a repetition: the first answer again.
    Repetition {
        refund_id: String,
    },
    /// Another key refunded the charge before.
    AlreadyRefunded,
    WasDeclined,
}

impl Request {
    pub fn parse(json: &[u8]) -> Result<Request, Vec<FieldError>> {
        let mut fields = Fields::parse(json)?;
        let request = Request {
            reference: fields.text("reference", MAX_ID_BYTES),
            customer: fields.text("customer", MAX_ID_BYTES),
            amount: fields.amount("amount"),
        };
        fields.finish(request)
    }
}

impl Charge {
    /// `bad_luck` is the roll of the dice; the name of the customer decides before it.
    pub fn new(request: Request, idempotency_key: String, bad_luck: bool) -> Charge {
        let status = if bad_luck || request.customer.starts_with(ALWAYS_DECLINED) {
            Status::Declined { reason: DECLINED.to_owned() }
        } else {
            Status::Captured
        };
        Charge { id: format!("ch_{}", Uuid::now_v7().simple()), idempotency_key, request, status }
    }
}

pub fn no_new_refund(status: &Status, earlier: Option<(String, String)>, key: &str) -> NoNewRefund {
    match (status, earlier) {
        (Status::Declined { .. }, _) => NoNewRefund::WasDeclined,
        (Status::Captured, Some((refund_id, earlier_key))) if earlier_key == key => {
            NoNewRefund::Repetition { refund_id }
        }
        (Status::Captured, _) => NoNewRefund::AlreadyRefunded,
    }
}

/// The `Idempotency-Key` header
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>), quoted or bare.
pub fn idempotency_key(header: Option<&str>) -> Result<String, String> {
    let header = header.ok_or("send an Idempotency-Key header, so that a repetition is recognised")?.trim();
    let key = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    events::check_text("the Idempotency-Key", key, 512)?;
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(customer: &str) -> Request {
        Request { reference: "order-1".into(), customer: customer.into(), amount: Cents(450) }
    }

    #[test]
    fn every_bad_field_is_named() {
        let errors = Request::parse(br#"{"reference": "", "amount": -1}"#).expect_err("bad");
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/reference", "/customer", "/amount"]);
    }

    #[test]
    fn the_customer_with_the_bad_card_is_always_declined() {
        assert!(matches!(
            Charge::new(request("declined-7"), "k".into(), false).status,
            Status::Declined { .. }
        ));
        assert_eq!(Charge::new(request("ann"), "k".into(), false).status, Status::Captured);
        assert!(matches!(Charge::new(request("ann"), "k".into(), true).status, Status::Declined { .. }));
    }

    #[test]
    fn a_second_refund_needs_the_key_of_the_first() {
        let earlier = || Some(("re_1".to_owned(), "a".to_owned()));
        assert_eq!(
            no_new_refund(&Status::Captured, earlier(), "a"),
            NoNewRefund::Repetition { refund_id: "re_1".into() }
        );
        assert_eq!(no_new_refund(&Status::Captured, earlier(), "b"), NoNewRefund::AlreadyRefunded);
    }

    #[test]
    fn a_key_may_be_quoted_but_not_missing() {
        assert_eq!(idempotency_key(Some("\"charge:1\"")), Ok("charge:1".to_owned()));
        assert_eq!(idempotency_key(Some("charge:1")), Ok("charge:1".to_owned()));
        for bad in [None, Some(""), Some("\"\"")] {
            assert!(idempotency_key(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(json in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&json);
        }
    }
}
