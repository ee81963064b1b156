//! One message from anywhere: `subject NUL header-value NUL body`. It becomes an event that survives the
//! wire, or a reason.
#![no_main]

use async_nats::{HeaderMap, HeaderValue};
use events::Event;
use libfuzzer_sys::fuzz_target;
use messaging::{Message, TraceContext};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (subject, value) = (text(), text());
    let body = parts.next().unwrap_or_default();

    let mut headers = HeaderMap::new();
    if let Ok(value) = value.parse::<HeaderValue>() {
        for name in ["traceparent", "tracestate", "ce-specversion"] {
            headers.append(name, value.clone());
        }
    }
    assert_eq!(TraceContext::from_headers(Some(&headers)).trace_id().len(), 32);
    let _ = <Event as Message>::decode(&subject, Some(&headers), body);
    if let Ok(event) = <Event as Message>::decode(&subject, None, body) {
        assert!((1..=200).contains(&event.id().len()));
        assert_eq!(Event::decode(&event.encode()).as_ref(), Ok(&event));
    }
});
