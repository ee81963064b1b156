//! The newest traces, in memory and within bounds. Spans stay as they came, encoded: so it is known what they take,
//! they take little, and only those that somebody looks at are decoded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

pub type TraceId = [u8; 16];
type SpanId = [u8; 8];

/// What a span takes beside its own bytes: pointers, times, its place in the tree.
const OVERHEAD: usize = 128;
/// Senders that are remembered before those without spans are forgotten.
const SOURCES: usize = 256;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all spans together, about.
    pub bytes: usize,
    pub traces: usize,
    /// A client that places all its orders in one trace of its own would otherwise have everything to itself.
    pub spans_of_a_trace: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 64 << 20, traces: 20_000, spans_of_a_trace: 5_000 }
    }
}

/// A process that sends spans.
#[derive(Debug)]
pub struct Source {
    pub service: String,
    pub attributes: Vec<KeyValue>,
}

#[derive(Debug)]
pub struct Kept {
    pub source: Arc<Source>,
    /// In nanoseconds since 1970.
    pub start: u64,
    encoded: Box<[u8]>,
}

impl Kept {
    pub fn span(&self) -> Span {
        Span::decode(&*self.encoded).unwrap_or_default()
    }

    fn size(&self) -> usize {
        self.encoded.len() + OVERHEAD
    }
}

#[derive(Debug, Default)]
pub struct Trace {
    spans: BTreeMap<SpanId, Kept>,
    size: usize,
    /// Spans beyond the limit, of which nothing else is known.
    pub missing: usize,
}

impl Trace {
    pub fn spans(&self) -> impl Iterator<Item = &Kept> {
        self.spans.values()
    }

    pub fn span(&self, id: &[u8]) -> Option<&Kept> {
        self.spans.get(id)
    }

    /// A span that comes twice, because its sender did not hear that it was received, replaces itself.
    fn add(&mut self, id: SpanId, kept: Kept) {
        self.size += kept.size();
        if let Some(before) = self.spans.insert(id, kept) {
            self.size -= before.size();
        }
    }
}

#[derive(Debug)]
pub struct Store {
    limits: Limits,
    traces: HashMap<TraceId, Trace>,
    /// The oldest first.
    arrived: VecDeque<TraceId>,
    sources: HashMap<Vec<u8>, Arc<Source>>,
    size: usize,
}

impl Store {
    pub fn new(limits: Limits) -> Store {
        let (traces, arrived, sources) = Default::default();
        Store { limits, traces, arrived, sources, size: 0 }
    }

    /// Returns how many of the spans were not kept.
    pub fn add(&mut self, spans: ResourceSpans) -> i64 {
        let source = self.source(spans.resource.unwrap_or_default());
        let mut refused = 0;
        for span in spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            refused += i64::from(!self.add_span(&source, &span));
        }
        self.make_room();
        refused
    }

    fn add_span(&mut self, source: &Arc<Source>, span: &Span) -> bool {
        let ids = (TraceId::try_from(&*span.trace_id), SpanId::try_from(&*span.span_id));
        let (Ok(trace_id), Ok(span_id)) = ids else { return false };
        if trace_id == [0; 16] || span_id == [0; 8] {
            return false;
        }
        let trace = self.traces.entry(trace_id).or_insert_with(|| {
            self.arrived.push_back(trace_id);
            Trace::default()
        });
        if trace.spans.len() >= self.limits.spans_of_a_trace {
            trace.missing += 1;
            return false;
        }
        let encoded = span.encode_to_vec().into_boxed_slice();
        let before = trace.size;
        trace.add(span_id, Kept { source: Arc::clone(source), start: span.start_time_unix_nano, encoded });
        self.size = self.size + trace.size - before;
        true
    }

    fn make_room(&mut self) {
        while self.size > self.limits.bytes || self.traces.len() > self.limits.traces {
            let Some(oldest) = self.arrived.pop_front() else { return };
            let trace = self.traces.remove(&oldest).unwrap_or_default();
            self.size -= trace.size;
        }
    }

    /// One for all spans of a process, which are many more than processes.
    fn source(&mut self, resource: Resource) -> Arc<Source> {
        if self.sources.len() > SOURCES {
            self.sources.retain(|_, source| Arc::strong_count(source) > 1);
        }
        let source = self.sources.entry(resource.encode_to_vec()).or_insert_with(|| {
            let service = text(&resource.attributes, "service.name").unwrap_or("unknown").to_owned();
            Arc::new(Source { service, attributes: resource.attributes })
        });
        Arc::clone(source)
    }

    pub fn trace(&self, id: &TraceId) -> Option<&Trace> {
        self.traces.get(id)
    }

    /// The newest first.
    pub fn newest(&self) -> impl Iterator<Item = (&TraceId, &Trace)> {
        self.arrived.iter().rev().filter_map(|id| Some((id, self.traces.get(id)?)))
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, sent, span};

    fn store(limits: Limits) -> Store {
        Store::new(limits)
    }

    #[test]
    fn the_oldest_traces_make_room_for_the_newest() {
        let mut store = store(Limits { traces: 3, ..Limits::default() });
        for trace in 1..=5 {
            store.add(sent("payment", [span(trace, 1, 0, "a")]));
        }
        let newest: Vec<_> = store.newest().map(|(id, _)| *id).collect();
        assert_eq!(newest, [id(5), id(4), id(3)]);
        assert!(store.trace(&id(1)).is_none());
    }

    #[test]
    fn spans_take_no_more_than_they_may_and_nothing_when_they_are_gone() {
        let mut store = store(Limits { bytes: 10_000, ..Limits::default() });
        for trace in 1..=1000 {
            store.add(sent("payment", (1..=5).map(|n| span(trace, n, 0, "a"))));
            assert!(store.size <= 10_000);
        }
        let kept: usize = store.newest().map(|(_, trace)| trace.size).sum();
        assert!(kept == store.size && kept > 5_000, "{kept} {}", store.size);
        store.limits.bytes = 0;
        store.make_room();
        assert_eq!((store.size, store.traces.len(), store.arrived.len()), (0, 0, 0));
    }

    #[test]
    fn a_trace_that_never_ends_leaves_the_others_their_room() {
        let mut store = store(Limits { spans_of_a_trace: 10, ..Limits::default() });
        let refused = store.add(sent("payment", (1..=25).map(|n| span(1, n, 0, "a"))));
        let trace = store.trace(&id(1)).expect("it is kept");
        assert_eq!((refused, trace.missing, trace.spans().count()), (15, 15, 10));
    }

    #[test]
    fn a_span_that_comes_twice_is_there_once() {
        let mut store = store(Limits::default());
        store.add(sent("payment", [span(1, 1, 0, "a")]));
        let once = store.size;
        store.add(sent("payment", [span(1, 1, 0, "a")]));
        assert_eq!(store.size, once);
        assert_eq!(store.sources.len(), 1);
    }

    #[test]
    fn a_span_without_ids_is_refused() {
        let mut store = store(Limits::default());
        let mut broken = span(1, 1, 0, "a");
        broken.trace_id = vec![1; 3];
        assert_eq!(store.add(sent("payment", [broken, span(0, 1, 0, "a"), span(1, 0, 0, "a")])), 3);
        assert_eq!(store.newest().count(), 0);
    }
}
