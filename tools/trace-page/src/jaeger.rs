//! A trace as Jaeger's pages want it (<https://www.jaegertracing.io/docs/2.14/architecture/apis/>, the JSON of `/api/traces`,
//! which is not described but has not changed for years). Kind and status of a span become tags, as Jaeger's own
//! collector makes them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use crate::store::{Source, Trace, TraceId};

pub fn trace(id: &TraceId, trace: &Trace) -> Value {
    let mut processes = HashMap::new();
    let mut spans = Vec::new();
    for kept in trace.spans() {
        let next = format!("p{}", processes.len() + 1);
        let (process, _) = processes.entry(Arc::as_ptr(&kept.source)).or_insert((next, &kept.source));
        spans.push(span(kept.span(), process));
    }
    if let (Some(first), true) = (spans.first_mut(), trace.missing > 0) {
        let warning = format!("{} more spans of this trace were not kept: it is too long", trace.missing);
        first["warnings"] = json!([warning]);
    }
    let processes: HashMap<String, Value> =
        processes.into_values().map(|(name, source)| (name, process(source))).collect();
    json!({ "traceID": hex(id), "spans": spans, "processes": processes, "warnings": null })
}

fn process(source: &Source) -> Value {
    let tags: Vec<_> = source.attributes.iter().filter(|a| a.key != "service.name").map(tag).collect();
    json!({ "serviceName": source.service, "tags": tags })
}

fn span(span: Span, process: &str) -> Value {
    let mut references = Vec::new();
    if !span.parent_span_id.is_empty() {
        references.push(reference("CHILD_OF", &span.trace_id, &span.parent_span_id));
    }
    references.extend(span.links.iter().map(|l| reference("FOLLOWS_FROM", &l.trace_id, &l.span_id)));
    let logs = span.events.iter().map(|event| {
        let name = json!({ "key": "event", "type": "string", "value": event.name });
        let fields: Vec<_> = std::iter::once(name).chain(event.attributes.iter().map(tag)).collect();
        json!({ "timestamp": event.time_unix_nano / 1000, "fields": fields })
    });
    json!({
        "traceID": hex(&span.trace_id),
        "spanID": hex(&span.span_id),
        "operationName": span.name,
        "references": references,
        "flags": span.flags & 0xff,
        "startTime": span.start_time_unix_nano / 1000,
        "duration": duration(&span) / 1000,
        "tags": tags(&span),
        "logs": logs.collect::<Vec<_>>(),
        "processID": process,
        "warnings": null,
    })
}

fn reference(kind: &str, trace_id: &[u8], span_id: &[u8]) -> Value {
    json!({ "refType": kind, "traceID": hex(trace_id), "spanID": hex(span_id) })
}

/// In nanoseconds; none of a span that ends before it starts, as clocks may have it.
pub fn duration(span: &Span) -> u64 {
    span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)
}

/// As Jaeger calls it.
pub fn kind(span: &Span) -> &'static str {
    match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    }
}

/// The span's attributes, and what Jaeger makes tags of.
pub fn tags(span: &Span) -> Vec<Value> {
    let mut tags: Vec<_> = span.attributes.iter().map(tag).collect();
    tags.push(json!({ "key": "span.kind", "type": "string", "value": kind(span) }));
    if let Some(status) = &span.status {
        if status.code() == StatusCode::Error {
            tags.push(json!({ "key": "error", "type": "bool", "value": true }));
        }
        if !status.message.is_empty() {
            let why = json!({ "key": "otel.status_description", "type": "string", "value": status.message });
            tags.push(why);
        }
    }
    tags
}

pub fn tag(attribute: &KeyValue) -> Value {
    let (kind, value) = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::BoolValue(value)) => ("bool", json!(value)),
        Some(Any::IntValue(value)) => ("int64", json!(value)),
        Some(Any::DoubleValue(value)) => ("float64", json!(value)),
        Some(Any::BytesValue(value)) => ("binary", json!(hex(value))),
        Some(Any::StringValue(value)) => ("string", json!(value)),
        other => ("string", json!(nested(other).to_string())),
    };
    json!({ "key": attribute.key, "type": kind, "value": value })
}

/// Lists and maps, which Jaeger shows as JSON in a text.
fn nested(value: Option<&Any>) -> Value {
    let inner = |value: &Option<AnyValue>| nested(value.as_ref().and_then(|value| value.value.as_ref()));
    match value {
        Some(Any::StringValue(value)) => json!(value),
        Some(Any::BoolValue(value)) => json!(value),
        Some(Any::IntValue(value)) => json!(value),
        Some(Any::DoubleValue(value)) => json!(value),
        Some(Any::BytesValue(value)) => json!(hex(value)),
        Some(Any::ArrayValue(list)) => list.values.iter().map(|value| nested(value.value.as_ref())).collect(),
        Some(Any::KvlistValue(map)) => {
            map.values.iter().map(|kv| (kv.key.clone(), inner(&kv.value))).collect()
        }
        _ => Value::Null,
    }
}

pub fn hex(id: &[u8]) -> String {
    id.iter().fold(String::with_capacity(id.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Limits, Store};
    use crate::testing::{id, sent, span, text};
    use opentelemetry_proto::tonic::trace::v1::Status;

    #[test]
    fn a_trace_is_as_jaegers_pages_read_it() {
        let mut store = Store::new(Limits::default());
        store.add(sent("order-api", [span(1, 1, 0, "POST /orders")]));
        let mut charge = span(1, 2, 1, "POST charge");
        charge.kind = SpanKind::Client.into();
        charge.attributes = vec![text("order.id", "order-1")];
        charge.status = Some(Status { code: StatusCode::Error.into(), message: "declined".to_owned() });
        store.add(sent("payment", [charge]));
        let trace = trace(&id(1), store.trace(&id(1)).expect("it was added"));

        assert_eq!(trace["traceID"], "00000000000000000000000000000001");
        let (root, charge) = (&trace["spans"][0], &trace["spans"][1]);
        assert_eq!(root["operationName"], "POST /orders");
        assert_eq!(root["references"], json!([]));
        let parent =
            json!([{ "refType": "CHILD_OF", "traceID": trace["traceID"], "spanID": root["spanID"] }]);
        assert_eq!(charge["references"], parent);
        assert_eq!((&charge["startTime"], &charge["duration"]), (&json!(1_000_000), &json!(1_000)));
        assert_eq!(
            charge["tags"],
            json!([
                { "key": "order.id", "type": "string", "value": "order-1" },
                { "key": "span.kind", "type": "string", "value": "client" },
                { "key": "error", "type": "bool", "value": true },
                { "key": "otel.status_description", "type": "string", "value": "declined" },
            ])
        );
        for (span, service) in [(root, "order-api"), (charge, "payment")] {
            let process = span["processID"].as_str().expect("a name");
            assert_eq!(trace["processes"][process]["serviceName"], service);
        }
    }

    #[test]
    fn a_trace_that_was_cut_says_so() {
        let mut store = Store::new(Limits { spans_of_a_trace: 1, ..Limits::default() });
        store.add(sent("payment", (1..=3).map(|number| span(1, number, 0, "a"))));
        let trace = trace(&id(1), store.trace(&id(1)).expect("it was added"));
        let warning = trace["spans"][0]["warnings"][0].as_str().expect("a warning");
        assert!(warning.starts_with("2 more spans"), "{warning}");
    }
}
