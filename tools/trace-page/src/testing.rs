//! Spans for tests.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use crate::store::TraceId;

pub fn id(trace: u128) -> TraceId {
    trace.to_be_bytes()
}

/// Of one millisecond, as many seconds after 1970 as the number of its trace says.
pub fn span(trace: u128, number: u64, parent: u64, name: &str) -> Span {
    let start = u64::try_from(trace).expect("tests count from 1") * 1_000_000_000;
    Span {
        trace_id: id(trace).to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: name.to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    }
}

pub fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub fn sent(service: &str, spans: impl IntoIterator<Item = Span>) -> ResourceSpans {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let spans = ScopeSpans { spans: spans.into_iter().collect(), ..ScopeSpans::default() };
    ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() }
}
