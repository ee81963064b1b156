//! Whatever is published, reading it ends with an event or with a reason.

use events::Event;
use messaging::{Message, TraceContext};
use proptest::prelude::*;
use testing::arbitrary;

proptest! {
    #[test]
    fn any_message_is_read_or_refused_with_a_reason(
        subject in "orders\\.(created|cancelled|nothing)(\\.[0-9]{1,12})?",
        headers in arbitrary::headers(),
        body in arbitrary::body(),
    ) {
        match Event::decode(&body) {
            Ok(event) => prop_assert_eq!(Event::decode(&event.encode()), Ok(event)),
            Err(reason) => prop_assert!(!reason.to_string().is_empty()),
        }
        if let Ok(event) = <Event as Message>::decode(&subject, Some(&headers), &body) {
            prop_assert!((1..=200).contains(&event.id().len()));
        }
        prop_assert_eq!(TraceContext::from_headers(Some(&headers)).trace_id().len(), 32);
    }
}
