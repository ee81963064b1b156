//! Who a mail goes to and by which Message-ID it is known. Both are made from ids that somebody else chose,
//! so this is where it is decided that no id can add a header, a recipient, or a second identity.

use events::{CustomerId, OrderId};
use lettre::Address;
use sha2::{Digest, Sha256};

/// Customers without an address have one here: a domain reserved for examples (RFC 2606).
const DEMONSTRATION: &str = "example.com";
const MESSAGE_ID_DOMAIN: &str = "coffee-shop.example";
/// The longest local part SMTP carries (RFC 5321, section 4.5.3.1.1).
const LONGEST: usize = 64;

/// The address in the order, or the demonstration's. The error is for the dead letter.
pub fn recipient(email: Option<&str>, customer_id: &CustomerId) -> Result<Address, String> {
    let address = match email {
        Some(email) => email.to_owned(),
        None => format!("{}@{DEMONSTRATION}", atom(customer_id.as_str(), LONGEST)),
    };
    address.parse().map_err(|error| format!("{address:?} is not an address mail can be sent to: {error}"))
}

/// Stable: a mail that is sent again, by whichever process, carries the same one (RFC 5322, section 3.6.4),
/// by which mail programs recognise the copy.
pub fn message_id(kind: &str, order_id: &OrderId) -> String {
    format!("<{kind}.{}@{MESSAGE_ID_DOMAIN}>", atom(order_id.as_str(), 200))
}

/// `text` as a dot-atom without special meaning anywhere (RFC 5322, section 3.2.3). Letters, digits, `-` and
/// `_` stand for themselves, as do single dots inside; every other byte becomes `=` and its hex digits.
/// What is then still longer than `longest` becomes `==` and a digest. Different texts stay different.
fn atom(text: &str, longest: usize) -> String {
    let mut atom = String::with_capacity(text.len());
    let mut after_dot = true;
    let bytes = text.as_bytes();
    for (n, &byte) in bytes.iter().enumerate() {
        let inner_dot = byte == b'.' && !after_dot && n + 1 < bytes.len();
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || inner_dot {
            atom.push(char::from(byte));
        } else {
            atom.push_str(&format!("={byte:02X}"));
        }
        after_dot = inner_dot;
    }
    if atom.len() <= longest {
        return atom;
    }
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(20).fold("==".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn customer(id: &str) -> CustomerId {
        id.to_owned().try_into().expect("valid")
    }

    fn order(id: &str) -> OrderId {
        id.to_owned().try_into().expect("valid")
    }

    #[test]
    fn ordinary_ids_stay_readable() {
        assert_eq!(
            recipient(None, &customer("cust-456")).expect("valid").to_string(),
            "cust-456@example.com"
        );
        assert_eq!(message_id("received", &order("order-123")), "<received.order-123@coffee-shop.example>");
    }

    #[test]
    fn ids_that_mean_mischief_become_harmless() {
        let cases = [
            ("a@b", "a=40b@example.com"),
            (".dots..", "=2Edots.=2E@example.com"),
            ("x, victim@bank.example", "x=2C=20victim=40bank.example@example.com"),
            ("=40", "=3D40@example.com"),
        ];
        for (id, address) in cases {
            assert_eq!(recipient(None, &customer(id)).expect("valid").to_string(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for email in ["", "nobody", "a@", "@b", "a b@example.com", "a@b@c", "a@exa mple.com", "a\r\nBcc: x@y"]
        {
            let error = recipient(Some(email), &customer("c")).expect_err(email);
            assert!(error.contains("is not an address"), "{error}");
        }
        assert!(recipient(Some("ana@example.com"), &customer("c")).is_ok());
    }

    proptest! {
        #[test]
        fn every_customer_has_an_address(id in "[^\\p{Cc}]{1,30}") {
            let address = recipient(None, &customer(&id)).expect("valid");
            prop_assert!(address.user().len() <= LONGEST);
            prop_assert_eq!(address.domain(), DEMONSTRATION);
            prop_assert!(address.to_string().is_ascii());
        }

        #[test]
        fn different_texts_are_different_atoms(a in "[a.=é\\-]{1,6}", b in "[a.=é\\-]{1,6}", longest in 3..20usize) {
            prop_assert_eq!(a == b, atom(&a, longest) == atom(&b, longest));
        }

        #[test]
        fn a_message_id_is_one_word(id in "[^\\p{Cc}]{1,30}") {
            let id = message_id("received", &order(&id));
            prop_assert!(id.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(id.matches(['<', '>', '@']).count(), 3);
            prop_assert!(!id.contains("..") && !id.contains(".@"));
        }
    }
}
