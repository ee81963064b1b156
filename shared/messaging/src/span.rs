//! What a trace page shows of an order: a span for each thing that is done to it, by OpenTelemetry's conventions
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>). A span hangs under the
//! [`TraceContext`] that came with the message, and what the message causes hangs under the span. While nobody
//! collects spans, and in a trace that is not sampled, there are none and they cost nothing.

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

static COLLECTED: OnceLock<Collected> = OnceLock::new();

struct Collected {
    tracer: BoxedTracer,
    style: Style,
    heeds_parents: bool,
}

impl Collected {
    /// Whether to ask the sampler at all: under a parent that is not sampled, most of them would say no.
    fn may_want(&self, under: &TraceContext) -> bool {
        !self.heeds_parents || !under.is_parent() || under.is_sampled()
    }
}

/// Called once, when the global tracer provider is set. Before that, and without it, there are no spans.
/// `heeds_parents` is whether its sampler never collects a span whose parent is not.
pub fn collect(style: Style, heeds_parents: bool) {
    let _ = COLLECTED.set(Collected { tracer: global::tracer("coffee-shop"), style, heeds_parents });
}

/// Ends when it is dropped.
pub struct Span {
    /// Only if it is collected.
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
        Span::build(under, || SpanBuilder::from_name(name).with_kind(kind), attributes)
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
            SpanBuilder::from_name(format!("process {consumer}"))
                .with_kind(SpanKind::Consumer)
                .with_links(links)
        };
        let attributes = || {
            [
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.consumer.group.name", consumer),
                KeyValue::new("messaging.message.id", message.id().to_owned()),
                KeyValue::new("order.id", message.order_id().to_owned()),
            ]
        };
        let batch = batch.map(|batch| Link::with_context(batch.span_context().clone()));
        match COLLECTED.get() {
            Some(collected) if collected.style == Style::Link && collected.may_want(sent) => {
                let sent = sent.is_parent().then(|| Link::with_context(sent.remote()));
                let builder = builder(batch.into_iter().chain(sent).collect());
                Span::begun(collected, builder, &Context::new(), attributes)
            }
            _ => Span::build(sent, || builder(batch.into_iter().collect()), attributes),
        }
    }

    fn build<const N: usize>(
        under: &TraceContext,
        builder: impl FnOnce() -> SpanBuilder,
        attributes: impl FnOnce() -> [KeyValue; N],
    ) -> Span {
        match COLLECTED.get() {
            Some(collected) if collected.may_want(under) => {
                let mut parent = Context::new();
                if under.is_parent() {
                    parent = parent.with_remote_span_context(under.remote());
                }
                Span::begun(collected, builder(), &parent, attributes)
            }
            _ => Span { recorded: None, context: under.clone() },
        }
    }

    fn begun<const N: usize>(
        collected: &Collected,
        builder: SpanBuilder,
        parent: &Context,
        attributes: impl FnOnce() -> [KeyValue; N],
    ) -> Span {
        let mut span = builder.start_with_context(&collected.tracer, parent);
        let context = TraceContext::of(span.span_context());
        if !span.is_recording() {
            return Span { recorded: None, context };
        }
        span.set_attributes(attributes());
        Span { recorded: Some(span), context }
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
    Span::build(under, || SpanBuilder::from_name(name).with_kind(kind).with_start_time(since), attributes);
}

/// One transaction: a span for each of its events, and for several together one of the batch. A span can have
/// only one parent, so that one is linked with theirs, both ways.
#[derive(Default)]
pub struct Batch {
    events: Vec<Span>,
    _batch: Option<BoxedSpan>,
    committed: bool,
}

impl Batch {
    /// Puts each message under its new span, so that what the handler makes of it goes there too.
    pub fn start<M: Message>(consumer: &'static str, messages: &mut [Received<M>]) -> Batch {
        let size = messages.len();
        let Some(collected) = COLLECTED.get() else { return Batch::default() };
        let mut wanted = messages.iter_mut().filter(|message| collected.may_want(message.trace())).peekable();
        let mut batch = (size > 1 && wanted.peek().is_some()).then(|| {
            let attributes = [
                KeyValue::new("messaging.system", "nats"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.consumer.group.name", consumer),
                KeyValue::new("messaging.batch.message_count", size as i64),
            ];
            SpanBuilder::from_name(format!("process batch {consumer}"))
                .with_kind(SpanKind::Consumer)
                .with_attributes(attributes)
                .start_with_context(&collected.tracer, &Context::new())
        });
        batch.take_if(|batch| !batch.is_recording());
        let events = wanted.map(|message| {
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
