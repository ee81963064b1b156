//! What a trace page shows of an order: a span for each thing that is done to it, by OpenTelemetry's conventions
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>). A span hangs under the
//! [`TraceContext`] that came with the message, and what the message causes hangs under the span. While nobody
//! collects spans, there are none and they cost nothing.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{Link, Span as _, SpanBuilder, Status, TraceContextExt};
use opentelemetry::{Context, Value};

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanKind;

use crate::{Message, Received, TraceContext};

/// How the span of handling a message belongs to that of sending it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As its child: an order is one trace.
    #[default]
    Parent,
    /// In a trace of its own with a link to it, for shops whose traces grow too long to be looked at.
    Link,
}

static COLLECTED: OnceLock<(BoxedTracer, Style)> = OnceLock::new();

/// Called once, when the global tracer provider is set. Before that, and without it, there are no spans.
pub fn collect(style: Style) {
    let _ = COLLECTED.set((global::tracer("coffee-shop"), style));
}

/// Ends when it is dropped.
pub struct Span {
    recorded: Option<BoxedSpan>,
    context: TraceContext,
}

impl Span {
    /// `attributes` are only put together when somebody collects them.
    pub fn start<const N: usize>(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        under: &TraceContext,
        attributes: impl FnOnce() -> [KeyValue; N],
    ) -> Span {
        let builder = || SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes());
        Span::build(under, builder)
    }

    /// Of handling a message.
    pub fn process<M: Message>(consumer: &'static str, message: &Received<M>) -> Span {
        Span::process_in(None, consumer, message)
    }

    fn process_in<M: Message>(
        batch: Option<&BoxedSpan>,
        consumer: &'static str,
        message: &Received<M>,
    ) -> Span {
        let sent = message.trace();
        let builder = |links: Vec<Link>| {
            let attributes = [
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.consumer.group.name", consumer),
                KeyValue::new("messaging.message.id", message.id().to_owned()),
                KeyValue::new("order.id", message.order_id().to_owned()),
            ];
            SpanBuilder::from_name(format!("process {consumer}"))
                .with_kind(SpanKind::Consumer)
                .with_links(links)
                .with_attributes(attributes)
        };
        let batch = batch.map(|batch| Link::with_context(batch.span_context().clone()));
        match COLLECTED.get() {
            Some((tracer, Style::Link)) => {
                let links = batch.into_iter().chain([Link::with_context(sent.remote())]);
                let span = builder(links.collect()).start_with_context(tracer, &Context::new());
                Span::recorded(span)
            }
            _ => Span::build(sent, || builder(batch.into_iter().collect())),
        }
    }

    fn build(under: &TraceContext, builder: impl FnOnce() -> SpanBuilder) -> Span {
        match COLLECTED.get() {
            None => Span { recorded: None, context: under.clone() },
            Some((tracer, _)) => {
                let parent = Context::new().with_remote_span_context(under.remote());
                Span::recorded(builder().start_with_context(tracer, &parent))
            }
        }
    }

    fn recorded(span: BoxedSpan) -> Span {
        Span { context: TraceContext::of(span.span_context()), recorded: Some(span) }
    }

    /// For everything that happens because of this.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.recorded {
            span.set_status(Status::error(why));
        }
    }
}

/// Of something that is over.
pub fn record<const N: usize>(
    name: &'static str,
    kind: SpanKind,
    under: &TraceContext,
    since: SystemTime,
    attributes: impl FnOnce() -> [KeyValue; N],
) {
    Span::build(under, || {
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(since);
        builder.with_attributes(attributes())
    });
}

/// One transaction: a span for each of its events, and for several together one of the batch. A span can have
/// only one parent, so that one is linked with theirs, both ways.
pub struct Batch {
    events: Vec<Span>,
    _batch: Option<BoxedSpan>,
    committed: bool,
}

impl Batch {
    /// Puts each message under its new span, so that what the handler makes of it goes there too.
    pub fn start<M: Message>(consumer: &'static str, messages: &mut [Received<M>]) -> Batch {
        let Some((tracer, _)) = COLLECTED.get() else {
            return Batch { events: Vec::new(), _batch: None, committed: false };
        };
        let mut batch = (messages.len() > 1).then(|| {
            let attributes = [
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.consumer.group.name", consumer),
                KeyValue::new("messaging.batch.message_count", messages.len() as i64),
            ];
            SpanBuilder::from_name(format!("process batch {consumer}"))
                .with_kind(SpanKind::Consumer)
                .with_attributes(attributes)
                .start_with_context(tracer, &Context::new())
        });
        let events = messages.iter_mut().map(|message| {
            let span = Span::process_in(batch.as_ref(), consumer, message);
            if let (Some(batch), Some(event)) = (&mut batch, &span.recorded) {
                batch.add_link(event.span_context().clone(), Vec::new());
            }
            *message = message.under(span.context());
            span
        });
        let events = events.collect();
        Batch { events, _batch: batch, committed: false }
    }

    pub fn committed(mut self) {
        self.committed = true;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.committed {
            self.events.iter_mut().for_each(|span| span.fail("not committed; nothing of it was kept"));
        }
    }
}
