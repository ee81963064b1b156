//! Carries W3C trace context (<https://www.w3.org/TR/trace-context/>) from the request that caused an event
//! through the outbox row and the message headers to everything that follows from it.

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`
    pub traceparent: String,
    pub tracestate: Option<String>,
    /// Nobody came with it: its span is nobody's, and whoever starts one begins the trace.
    begins: bool,
}

impl TraceContext {
    /// Continues the caller's trace, or starts one when it has none or it is malformed.
    pub fn from_parts(traceparent: Option<&str>, tracestate: Option<&str>) -> TraceContext {
        match traceparent.filter(|value| is_valid(value)) {
            Some(traceparent) => TraceContext {
                traceparent: traceparent.to_owned(),
                tracestate: tracestate.filter(|state| state.len() <= 512).map(str::to_owned),
                begins: false,
            },
            None => TraceContext::start(),
        }
    }

    pub fn from_headers(headers: Option<&HeaderMap>) -> TraceContext {
        let get = |name| Some(headers?.get(HeaderName::from_static(name))?.as_str());
        TraceContext::from_parts(get("traceparent"), get("tracestate"))
    }

    fn start() -> TraceContext {
        let trace = Uuid::new_v4().simple().to_string();
        let span = Uuid::new_v4().simple().to_string();
        let traceparent = format!("00-{trace}-{}-01", &span[..16]);
        TraceContext { traceparent, tracestate: None, begins: true }
    }

    /// Whether there is a span that another one can be under.
    pub(crate) fn is_parent(&self) -> bool {
        !self.begins
    }

    /// Whether somebody collects the spans of this trace, as the one who began it decided.
    pub(crate) fn is_sampled(&self) -> bool {
        let flags = self.traceparent.get(53..55).and_then(|flags| u8::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    }

    /// As OpenTelemetry has it. What is malformed, which only our own database could contain, becomes invalid.
    pub(crate) fn remote(&self) -> SpanContext {
        let part = |range| self.traceparent.get(range).unwrap_or_default();
        SpanContext::new(
            TraceId::from_hex(part(3..35)).unwrap_or(TraceId::INVALID),
            SpanId::from_hex(part(36..52)).unwrap_or(SpanId::INVALID),
            TraceFlags::new(u8::from_str_radix(part(53..55), 16).unwrap_or_default()),
            true,
            self.tracestate.as_deref().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default(),
        )
    }

    pub(crate) fn of(span: &SpanContext) -> TraceContext {
        let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
        let state = span.trace_state().header();
        TraceContext {
            traceparent: format!("00-{trace:032x}-{id:016x}-{flags:02x}"),
            tracestate: (!state.is_empty()).then_some(state),
            begins: false,
        }
    }

    /// The 32 hex digits to look for in the trace page.
    pub fn trace_id(&self) -> &str {
        &self.traceparent[3..35]
    }
}

fn is_valid(traceparent: &str) -> bool {
    let hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    let mut parts = traceparent.split('-');
    let [Some(version), Some(trace), Some(span), Some(flags), None] = std::array::from_fn(|_| parts.next())
    else {
        return false;
    };
    version == "00" && hex(trace, 32) && not_zero(trace) && hex(span, 16) && not_zero(span) && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opentelemetry_has_the_same_and_gives_it_back() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::from_parts(Some(parent), Some("vendor=1"));
        assert!(context.remote().is_valid() && context.remote().is_sampled());
        assert_eq!(TraceContext::of(&context.remote()), context);
    }

    #[test]
    fn the_flags_say_whether_a_trace_is_collected() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let context = TraceContext::from_parts(Some(&parent), None);
            assert!(context.is_parent() && context.is_sampled() == sampled, "{flags}");
        }
    }

    #[test]
    fn a_valid_parent_is_kept_and_a_broken_one_replaced() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceContext::from_parts(Some(parent), Some("a=1")).traceparent, parent);
        for broken in [
            None,
            Some(""),
            Some("00-xyz-1-01"),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ] {
            let fresh = TraceContext::from_parts(broken, None);
            assert!(is_valid(&fresh.traceparent), "{}", fresh.traceparent);
            assert!(!fresh.is_parent());
            assert_eq!(fresh.trace_id().len(), 32);
        }
    }
}
