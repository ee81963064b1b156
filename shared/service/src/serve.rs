//! Accepts connections and speaks HTTP/1.1 over them, each bounded in what it may send and how long it may take
//! (`patience.rs`), all of them in number.
//!
//! At the limit nobody is refused: newcomers wait in the kernel's queue, first come, first served, and a place is free
//! as soon as any connection ends. So a health check is late in a crowd, but has its turn, and answering "too many"
//! to thousands costs nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use metrics::gauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::clients::{Clients, network};
use crate::edge::Edge;
use crate::patience::{Patient, Stage};

/// Request line and headers together. Beyond it, or beyond a hundred headers, hyper answers 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// What hyper reads ahead, and holds of an answer that the client has not taken yet.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Files that are open for other reasons: the database, the broker, logs.
const OTHER_FILES: u64 = 128;
/// Out of files or memory: trying again at once would only fill the log.
const AFTER_TROUBLE: Duration = Duration::from_millis(500);

pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set HTTP_ADDR to an address that is free"))
}

/// Serves until `stop`, then finishes the requests under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    edge: Edge,
    clients: Arc<Clients>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let places = allowed_by_the_system(edge.http_connections);
    gauge!("http_connections_max").set(f64::from(places));
    gauge!("http_connections").set(0.0);
    let places = Arc::new(Semaphore::new(places as usize));
    let crowd = Arc::new(Crowd::new(edge.http_connections_per_client));
    let graceful = GracefulShutdown::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = accept(&listener, &places) => next,
        };
        // An IPv4 client of a listener for both is an IPv4 client.
        let ip = peer.ip().to_canonical();
        let share = if clients.counts(ip) { crowd.enter(ip) } else { Some(Share::free()) };
        let Some(share) = share else {
            metrics::counter!("http_refused_total", "why" => "connections").increment(1);
            continue;
        };
        // Otherwise the last part of an answer waits until the client has confirmed the one before.
        let _ = stream.set_nodelay(true);
        let seat = Seat::take(place, share);
        let conversation = converse(stream, peer, router.clone(), &edge, graceful.watcher());
        tokio::spawn(async move {
            conversation.await;
            drop(seat);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// The next connection, as soon as there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; is the limit of open files too low?");
                tokio::time::sleep(AFTER_TROUBLE).await;
            }
        }
    }
}

/// A client that hung up before it was accepted is no trouble of ours (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// All requests of one connection, one after the other.
fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    edge: &Edge,
    watcher: Watcher,
) -> impl Future<Output = ()> + Send + use<> {
    let stage = Stage::of_a_new_connection();
    let [head, stall] = [edge.http_head_seconds, edge.http_stall_seconds].map(Duration::from_secs);
    let stream = TokioIo::new(Patient::new(stream, stage.clone(), head, stall));
    let service = service_fn(move |request: Request<Incoming>| {
        stage.request();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let (stage, answer) = (stage.clone(), router.clone().call(request));
        async move {
            let answer = answer.await;
            stage.idle();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Of the two waits for a head this is the longer one: until its first byte.
        .header_read_timeout(Duration::from_secs(edge.http_idle_seconds))
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(stream, service);
    async move {
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

/// Each connection is an open file. Raises the process's limit as far as its user may, and promises no more places
/// than that holds.
fn allowed_by_the_system(wanted: u32) -> u32 {
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = u32::try_from(files.saturating_sub(OTHER_FILES).max(1)).unwrap_or(u32::MAX);
    if room < wanted {
        tracing::warn!(
            files,
            "HTTP_CONNECTIONS is {wanted}, but there may be only {room}: raise `ulimit -n`"
        );
    }
    wanted.min(room)
}

/// How many connections each client has.
struct Crowd {
    limit: u32,
    open: Mutex<HashMap<IpAddr, u32>>,
}

impl Crowd {
    fn new(limit: u32) -> Crowd {
        Crowd { limit, open: Mutex::default() }
    }

    /// `None` when the client has all it may have.
    fn enter(self: &Arc<Crowd>, peer: IpAddr) -> Option<Share> {
        if self.limit == 0 {
            return Some(Share::free());
        }
        let client = network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Share(Some((Arc::clone(self), client))))
    }
}

/// A connection that is counted against its client, until it is dropped.
struct Share(Option<(Arc<Crowd>, IpAddr)>);

impl Share {
    fn free() -> Share {
        Share(None)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((crowd, client)) = self.0.take() else { return };
        let mut open = crowd.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&client);
            }
        }
    }
}

/// What an open connection takes up, until it is dropped.
struct Seat {
    _place: OwnedSemaphorePermit,
    _share: Share,
}

impl Seat {
    fn take(place: OwnedSemaphorePermit, share: Share) -> Seat {
        gauge!("http_connections").increment(1.0);
        Seat { _place: place, _share: share }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        gauge!("http_connections").decrement(1.0);
    }
}
