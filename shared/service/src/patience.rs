//! A connection that does not wait for ever: neither for the rest of a request's head, dribbled byte by byte, nor for
//! a client that takes nothing of its answer. How long a body may take is `body.rs`'s, how long a connection may be
//! idle hyper's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection is at. Told by both sides: bytes that arrive while it is idle begin a head, and a head that is
/// complete is a request.
#[derive(Clone)]
pub struct Stage(Arc<AtomicU8>);

/// Whoever connects has something to say, so the head begins with the connection.
const HEAD: u8 = 0;
const REQUEST: u8 = 1;
const IDLE: u8 = 2;

impl Stage {
    pub fn of_a_new_connection() -> Stage {
        Stage(Arc::new(AtomicU8::new(HEAD)))
    }

    pub fn request(&self) {
        self.0.store(REQUEST, Ordering::Relaxed);
    }

    /// The request is answered. Its answer may still be on its way: a stream of events, for hours.
    pub fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn begins_head(&self) -> bool {
        self.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_in_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }
}

pub struct Patient {
    stream: TcpStream,
    stage: Stage,
    head: Deadline,
    head_since: Instant,
    write: Deadline,
    /// Since when the client has taken nothing, though there is something to take.
    stuck_since: Option<Instant>,
}

impl Patient {
    pub fn new(stream: TcpStream, stage: Stage, head: Duration, write: Duration) -> Patient {
        Patient {
            stream,
            stage,
            head: Deadline::new(head),
            head_since: Instant::now(),
            write: Deadline::new(write),
            stuck_since: None,
        }
    }

    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stuck_since = None;
            return written;
        }
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        ready!(self.write.poll_passed(since, context));
        cut("slow reader")
    }
}

fn cut<T>(why: &'static str) -> Poll<io::Result<T>> {
    metrics::counter!("http_connections_cut_total", "why" => why).increment(1);
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
}

/// A limit and its alarm, which is made when it is first needed: most connections never do.
struct Deadline {
    limit: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(limit: Duration) -> Deadline {
        Deadline { limit, alarm: None }
    }

    /// Ready when `since` is longer ago than the limit.
    fn poll_passed(&mut self, since: Instant, context: &mut Context<'_>) -> Poll<()> {
        let at = since + self.limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(context)
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() {
            if buffer.filled().len() > before && this.stage.begins_head() {
                this.head_since = Instant::now();
            }
            return read;
        }
        if !this.stage.is_in_head() {
            return Poll::Pending;
        }
        ready!(this.head.poll_passed(this.head_since, context));
        cut("slow head")
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
