//! Receives OTLP over gRPC, as a collector does, and remembers all spans.

use std::fmt;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub struct Collector {
    pub url: String,
    seen: Seen,
    /// Of its own, so that its connections end with it.
    runtime: Option<Runtime>,
}

/// Who said it, and what.
#[derive(Clone)]
pub struct Told {
    pub service: String,
    pub span: Span,
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Told>>>);

impl Collector {
    pub fn start() -> Collector {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let seen = Seen::default();
        let service = TraceServiceServer::new(seen.clone());
        let serving = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        runtime.spawn(serving);
        drop(entered);
        Collector { url, seen, runtime: Some(runtime) }
    }

    pub fn stop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }

    pub fn all(&self) -> Vec<Told> {
        self.seen.0.lock().unwrap().clone()
    }

    /// The spans of one trace.
    pub fn trace(&self, id: &str) -> Vec<Told> {
        self.all().into_iter().filter(|told| hex(&told.span.trace_id) == id).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tonic::async_trait]
impl TraceService for Seen {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = text(&attributes, "service.name").expect("every service says who it is");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let told = spans.map(|span| Told { service: service.clone(), span });
            self.0.lock().unwrap().extend(told);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Told {
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }

    pub fn is_child_of(&self, parent: &Told) -> bool {
        self.span.trace_id == parent.span.trace_id && self.span.parent_span_id == parent.span.span_id
    }

    pub fn is_linked_with(&self, other: &Told) -> bool {
        let mut links = self.span.links.iter();
        links.any(|link| (&link.trace_id, &link.span_id) == (&other.span.trace_id, &other.span.span_id))
    }

    /// The reason, if it failed.
    pub fn error(&self) -> Option<&str> {
        let status = self.span.status.as_ref()?;
        (status.code() == StatusCode::Error).then_some(&status.message)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { service, span } = self;
        write!(f, "{service}: {} ({} < {})", span.name, hex(&span.span_id), hex(&span.parent_span_id))
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = &attributes.iter().find(|attribute| attribute.key == key)?.value;
    match value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
