//! OTLP over gRPC: one method, `Export`. hyper speaks HTTP/2 and tonic's generated service does the rest; tonic's own
//! server is left out, because with it in the workspace every service's HTTP port would speak HTTP/2 too.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::store::Store;

/// One for each process that sends spans, and some.
const CONNECTIONS: usize = 256;
const ASK_THE_SILENT: Duration = Duration::from_secs(30);

struct Receiver(Arc<RwLock<Store>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut store = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let refused: i64 =
            request.into_inner().resource_spans.into_iter().map(|spans| store.add(spans)).sum();
        let partial_success = (refused > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: refused,
            error_message: "their ids are not valid, or their trace has too many spans".to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

/// Receives until the process ends.
pub async fn serve(listener: TcpListener, store: Arc<RwLock<Store>>) -> Result<()> {
    let service = TowerToHyperService::new(TraceServiceServer::new(Receiver(store)));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let connection = match listener.accept().await {
            Ok((connection, _)) => TokioIo::new(connection),
            Err(error) => {
                // Of one connection, or for want of file handles: neither is mended by ending.
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let service = service.clone();
        tokio::spawn(async move {
            let _place = place;
            // It ends with an error when a sender is killed, which is its business.
            let _ = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(ASK_THE_SILENT)
                .serve_connection(connection, service)
                .await;
        });
    }
}
