//! Sends the spans of this process to a collector, over OTLP (<https://opentelemetry.io/docs/specs/otlp/>). The usual
//! variables say where to and how many: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`; unless told
//! which, a few traces a second (see [`crate::sampler`]).
//! Nothing waits for the collector: spans are put in a bounded queue, and those that find it full, or are sent to
//! a collector that is away, are dropped and counted.

use std::time::Duration;

use anyhow::Context;
use messaging::span::{self, Style};
use opentelemetry::KeyValue;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};

use crate::config::{Config, TraceConsumers};
use crate::sampler::PerSecond;

/// Spans of about a second at full load.
const QUEUE: usize = 16_384;
const BATCH: usize = 1_024;
/// A transaction's span is linked with all of its events'.
const LINKS: u32 = 1_024;
const SEND_EVERY: Duration = Duration::from_secs(1);
/// At the end of the process, for what is still in the queue.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Spans are collected while this lives.
pub struct Spans(Option<SdkTracerProvider>);

impl Spans {
    /// Without an endpoint there are no spans at all.
    pub fn start(service: &'static str, instance: &str, config: &Config) -> anyhow::Result<Spans> {
        let Some(endpoint) = config.traces_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Spans(None));
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(Duration::from_secs(3))
            .build()
            .with_context(|| {
                format!("OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}; it has to be http://host:port")
            })?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(Counted(exporter)).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let mut provider = SdkTracerProvider::builder()
            .with_span_processor(Counted(processor))
            .with_max_links_per_span(LINKS)
            .with_resource(resource);
        // The SDK reads it too, and knows what its values mean.
        let told = std::env::var("OTEL_TRACES_SAMPLER").unwrap_or_default();
        if told.is_empty() {
            let sampler = PerSecond::new(config.traces_per_second);
            provider = provider.with_sampler(Sampler::ParentBased(Box::new(sampler)));
        }
        let provider = provider.build();
        opentelemetry::global::set_tracer_provider(provider.clone());
        let style = match config.trace_consumers {
            TraceConsumers::Parent => Style::Parent,
            TraceConsumers::Link => Style::Link,
        };
        span::collect(style, told.is_empty() || told.starts_with("parentbased_"));
        Ok(Spans(Some(provider)))
    }

    /// Sends what is left, unless the collector is away.
    pub async fn finish(self) {
        if let Some(provider) = self.0 {
            let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_WORDS)).await;
        }
    }
}

/// Counts what goes in and what comes out; the difference has been dropped or is under way.
#[derive(Debug)]
struct Counted<T>(T);

impl SpanProcessor for Counted<BatchSpanProcessor> {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        metrics::counter!("trace_spans_ended_total").increment(1);
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.0.export(batch).await;
        let outcome = if result.is_ok() { "sent" } else { "lost" };
        metrics::counter!("trace_spans_exported_total", "outcome" => outcome).increment(spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
