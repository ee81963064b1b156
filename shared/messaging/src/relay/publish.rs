//! Sends claimed rows to the broker, and says what became of them.

// The one place where events are published.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use async_nats::HeaderName;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use super::Relay;
use super::rows::{Row, Stored};
use crate::span::{KeyValue, Span, SpanKind};
use crate::{TraceContext, failpoint, outbox};

/// Longer is "unknown": publish again.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

/// What became of one claim.
pub struct Sent {
    pub stored: Vec<Stored>,
    pub failed: usize,
    pub first_error: Option<String>,
}

impl Relay {
    /// Sends all rows, then collects the answers.
    pub(super) async fn publish(&self, rows: Vec<Row>) -> Sent {
        let claimed = rows.len();
        let mut first_error = None;
        let mut in_flight: Vec<(Stored, PublishAckFuture, Span)> = Vec::with_capacity(rows.len());
        let deadline = Instant::now() + PUBLISH_TIMEOUT;
        for mut row in rows {
            let place = Stored::nowhere(&row);
            let subject = std::mem::take(&mut row.subject);
            let (message, span) = self.message(&subject, row);
            let send = self.jetstream.send_publish(subject, message);
            match timeout_at(deadline, send).await {
                Ok(Ok(answer)) => in_flight.push((place, answer, span)),
                Ok(Err(error)) => first_error = first_error.or(Some(error.to_string())),
                Err(_) => {
                    first_error = first_error.or(Some("sending timed out".into()));
                    break;
                }
            }
        }
        failpoint::dies_at("relay-before-answers");
        let mut stored = Vec::with_capacity(in_flight.len());
        for (place, answer, mut span) in in_flight {
            if failpoint::is_set("mutation-mark-first") {
                stored.push(place);
                continue;
            }
            match timeout_at(deadline, answer).await {
                Ok(Ok(ack)) => stored.push(place.answered(ack)),
                Ok(Err(error)) => {
                    span.fail(error.to_string());
                    first_error = first_error.or(Some(error.to_string()));
                }
                Err(_) => {
                    span.fail("no answer in time");
                    first_error = first_error.or(Some("no answer in time".into()));
                }
            }
        }
        Sent { failed: claimed - stored.len(), stored, first_error }
    }

    /// CloudEvents 1.0 in binary mode (<https://github.com/cloudevents/spec>), W3C trace context, and the
    /// id by which the broker recognises a repetition. A dead letter has the headers of its event instead.
    fn message(&self, subject: &str, row: Row) -> (PublishMessage, Span) {
        let mut headers = row.headers.as_deref().map(outbox::decode).unwrap_or_default();
        let said = match &row.headers {
            Some(_) => TraceContext::from_headers(Some(&headers)),
            None => TraceContext::from_parts(row.traceparent.as_deref(), row.tracestate.as_deref()),
        };
        let span = publish_span(subject, &row, &said);
        if row.headers.is_none() {
            // Names that are not copied for each message.
            let name = HeaderName::from_static;
            headers.insert(name("ce-specversion"), "1.0");
            headers.insert(name("ce-id"), row.event_id.as_str());
            headers.insert(name("ce-type"), row.event_type);
            headers.insert(name("ce-source"), format!("/{}", self.source));
            headers.insert(name("ce-time"), row.occurred_at.format(&Rfc3339).unwrap_or_default());
            let trace = span.context();
            headers.insert(name("traceparent"), trace.traceparent.as_str());
            if let Some(tracestate) = &trace.tracestate {
                headers.insert(name("tracestate"), tracestate.as_str());
            }
        }
        let message = PublishMessage::build().payload(row.body.into()).headers(headers);
        (message.message_id(row.event_id), span)
    }
}

fn publish_span(subject: &str, row: &Row, under: &TraceContext) -> Span {
    // Without the partition, which would make eight names of one.
    let template = subject.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.');
    Span::start(format!("publish {template}"), SpanKind::Producer, under, || {
        [
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.name", "publish"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", subject.to_owned()),
            KeyValue::new("messaging.destination.template", template.to_owned()),
            KeyValue::new("messaging.message.id", row.event_id.clone()),
            KeyValue::new("messaging.message.body.size", row.body.len() as i64),
        ]
    })
}
