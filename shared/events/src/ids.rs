//! Identifiers are opaque strings on the wire; these types make sure that each can be stored and logged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `Ok` when `text` has 1 to `max` bytes and no control characters (Postgres cannot store NUL, and line
/// breaks forge log lines and mail headers).
pub fn check_text(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if text.len() > max {
        return Err(format!("{what} has {} bytes, at most {max} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} contains a control character"));
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                check_text($what, &text, $max)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names an order everywhere; at most 128 bytes. Unguessable when the order API made it.
    OrderId, "orderId", 128
);
id!(
    /// Names a customer; at most 128 bytes.
    CustomerId, "customerId", 128
);
id!(
    /// Names one event, however often it is delivered; at most 200 bytes.
    EventId, "eventId", 200
);
