//! HTTP as lean as it can be while somebody else maintains it: hyper's connections, kept alive and taken
//! newest first. The load generator shares the machine with the shop, so what it costs is taken from what it
//! measures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer for this long counts as none.
const PATIENCE: Duration = Duration::from_secs(30);

type Connection = SendRequest<Full<Bytes>>;

/// Clones share their connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// `host:port`
    address: String,
    host: HeaderValue,
    idle: Mutex<Vec<Connection>>,
}

pub struct Received {
    pub status: StatusCode,
    pub head: Response<()>,
}

impl Client {
    /// `url`: `http://host:port`.
    pub fn new(url: &str) -> Result<Client> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        let host = uri.host().with_context(|| format!("{url} names no host"))?;
        ensure!(uri.scheme_str() == Some("http"), "{url}: the load is sent over plain http://host:port");
        let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let host = HeaderValue::from_str(&address).context("the host is no header value")?;
        Ok(Client(Arc::new(Inner { address, host, idle: Mutex::default() })))
    }

    pub fn post(&self, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(HOST, self.0.host.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    /// The error is the kind of trouble in few words, the same for the same trouble.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Received, &'static str> {
        timeout(PATIENCE, self.exchange(request)).await.unwrap_or(Err("no answer in time"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Received, &'static str> {
        let mut connection = self.take().await?;
        let answer = match connection.try_send_request(request).await {
            Ok(answer) => answer,
            // The server had closed the idle connection and has read nothing of it.
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    connection = self.connect().await?;
                    connection.send_request(request).await.map_err(|_| "the connection was cut")?
                }
                None => return Err("the connection was cut"),
            },
        };
        let (head, body) = answer.into_parts();
        // Nobody looks at it, but an answer is there when all of it is.
        body.collect().await.map_err(|_| "the connection was cut")?;
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Received { status: head.status, head: Response::from_parts(head, ()) })
    }

    async fn take(&self) -> Result<Connection, &'static str> {
        loop {
            let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(connection) if connection.is_closed() => {}
                Some(mut connection) => {
                    if connection.ready().await.is_ok() {
                        return Ok(connection);
                    }
                }
                None => return self.connect().await,
            }
        }
    }

    async fn connect(&self) -> Result<Connection, &'static str> {
        let stream = TcpStream::connect(&self.0.address).await.map_err(|_| "no connection")?;
        stream.set_nodelay(true).map_err(|_| "no connection")?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| "no connection")?;
        // It ends with the connection; what went wrong is told to the request.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// As many open files as this user may have: each open request is one.
pub fn allow_many_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the load still runs, with fewer connections.
    let _ = setrlimit(Resource::Nofile, limit);
}
