//! The trace page of a shop without containers: receives spans over OTLP, keeps the newest traces in memory, and
//! serves Jaeger's own pages with the part of its API that they ask for.
//!
//! `scripts/up` starts it. In containers Jaeger itself has this place.

mod jaeger;
mod page;
mod receiver;
mod search;
mod store;
#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::store::{Limits, Store};

/// Receives spans, keeps the newest, and shows them as Jaeger does.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to serve the pages and /api.
    #[arg(long, env = "TRACES_ADDR", default_value = "127.0.0.1:16686")]
    http: SocketAddr,
    /// Where to receive spans, by OTLP over gRPC.
    #[arg(long, env = "TRACES_OTLP_ADDR", default_value = "127.0.0.1:4317")]
    otlp: SocketAddr,
    /// The folder of Jaeger's pages, from scripts/lib/get-jaeger-ui. Without it there is the API alone.
    #[arg(long, env = "JAEGER_UI")]
    pages: Option<PathBuf>,
    /// For the spans that are kept, in MiB. The oldest traces make room.
    #[arg(long, env = "TRACES_MEGABYTES", default_value_t = 64)]
    megabytes: usize,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let limits = Limits { bytes: arguments.megabytes << 20, ..Limits::default() };
    let store = Arc::new(RwLock::new(Store::new(limits)));
    let pages = arguments.pages.filter(|folder| !folder.as_os_str().is_empty());
    let page = page::router(Arc::clone(&store), pages.as_deref());
    let (http, otlp) = (listen(arguments.http).await?, listen(arguments.otlp).await?);
    println!("spans are received at {}, traces shown at http://{}", otlp.local_addr()?, http.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        never = receiver::serve(otlp, store) => never,
        failed = async { axum::serve(http, page).await } => failed.context("the page cannot be served"),
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}: is it in use?"))
}
