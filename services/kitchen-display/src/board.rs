//! The live board. One task per process looks at the database several times a second, but only while pages
//! are open, and hands each *changed* snapshot to all of them. Looking, rather than passing on what this
//! process did, is what makes a ticket handled by one instance show on the pages of the others.

use std::sync::Arc;
use std::time::Duration;

use messaging::bounded;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::store;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// More tickets than this nobody can read; they wait unseen, and are counted.
const SHOWN: i64 = 100;
/// Beyond this the exact number does not matter to a barista.
const COUNTED: i64 = 1_000;

/// The live tickets, as JSON ready to be sent.
pub struct Snapshot {
    pub tickets: Box<RawValue>,
    /// Live tickets that are not among `tickets`; 1000 means "1000 or more".
    pub more: i64,
}

/// What a page is shown.
#[derive(Clone)]
pub enum View {
    /// No page was open just now, so nobody looked.
    Unknown,
    Board(Arc<Snapshot>),
    /// The database cannot be asked: what a page shows may be old.
    Away,
}

/// A snapshot as it is sent, with the time by our clock, because ages must not depend on the tablet's.
#[derive(Serialize)]
pub struct Frame<'a> {
    #[serde(with = "time::serde::rfc3339")]
    now: OffsetDateTime,
    tickets: &'a RawValue,
    more: i64,
}

#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    pool: PgPool,
    view: watch::Sender<View>,
    wake: Notify,
    pages: Arc<Semaphore>,
}

/// A place at the board, given back when dropped.
pub struct Page {
    pub views: watch::Receiver<View>,
    pub place: OwnedSemaphorePermit,
}

impl Snapshot {
    pub fn frame(&self) -> Frame<'_> {
        Frame { now: OffsetDateTime::now_utc(), tickets: &self.tickets, more: self.more }
    }

    fn is_same(&self, other: &Snapshot) -> bool {
        self.tickets.get() == other.tickets.get() && self.more == other.more
    }
}

impl Board {
    pub fn new(pool: PgPool, max_pages: usize) -> Board {
        let pages = Arc::new(Semaphore::new(max_pages));
        let view = watch::Sender::new(View::Unknown);
        Board(Arc::new(Inner { pool, view, wake: Notify::new(), pages }))
    }

    /// A page opens; `None` when too many are open.
    pub fn open(&self) -> Option<Page> {
        let place = Arc::clone(&self.0.pages).try_acquire_owned().ok()?;
        let page = Page { views: self.0.view.subscribe(), place };
        self.0.wake.notify_one();
        Some(page)
    }

    /// Something changed here: look at once.
    pub fn changed(&self) {
        self.0.wake.notify_one();
    }

    pub async fn snapshot(&self) -> Result<Snapshot, sqlx::Error> {
        store::board(&self.0.pool, SHOWN, COUNTED).await
    }

    pub async fn watch(self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            let open = self.0.view.receiver_count();
            metrics::gauge!("board_pages").set(open as f64);
            if open > 0 {
                self.look().await;
            } else {
                self.0.view.send_replace(View::Unknown);
            }
            let rest = async {
                match open {
                    0 => std::future::pending().await,
                    _ => tokio::time::sleep(LOOK_EVERY).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.0.wake.notified() => {}
                () = rest => {}
            }
        }
        Ok(())
    }

    async fn look(&self) {
        let seen = bounded(self.snapshot()).await;
        self.0.view.send_if_modified(|view| match (seen, &*view) {
            (Ok(new), View::Board(old)) if new.is_same(old) => false,
            (Ok(new), _) => {
                *view = View::Board(Arc::new(new));
                true
            }
            (Err(_), View::Away) => false,
            (Err(error), _) => {
                tracing::warn!(%error, "the board cannot be read; pages are told");
                *view = View::Away;
                true
            }
        });
    }
}
