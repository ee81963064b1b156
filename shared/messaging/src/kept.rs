//! Connections for those who run one transaction after the other. A pool asks a connection it gives out whether it is still
//! there, and asks twice when it comes back: as many round trips as a small transaction has itself. So those that did well are
//! kept at hand and given to the next without a question.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::time::timeout;

/// After so long without work a connection is asked after all: something between here and the server may have forgotten it.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub struct Kept {
    pool: PgPool,
    /// With the end of its last work.
    at_hand: Mutex<Vec<(PoolConnection<Postgres>, Instant)>>,
    most: usize,
}

/// A connection in use. Dropped, and not [kept](Lent::keep), it goes to the pool, which asks it, and so does all that is kept:
/// what broke one may have broken them all.
pub struct Lent<'a> {
    kept: &'a Kept,
    /// Until it is kept or dropped.
    connection: Option<PoolConnection<Postgres>>,
}

impl Kept {
    /// Half of what the pool has, at most. The others are for those who ask now and then.
    pub fn new(pool: PgPool) -> Kept {
        let most = pool.options().get_max_connections() as usize / 2;
        Kept { pool, at_hand: Mutex::default(), most }
    }

    pub async fn take(&self) -> Result<Lent<'_>, sqlx::Error> {
        let kept = self.at_hand().pop();
        let connection = match kept {
            Some((connection, since)) if since.elapsed() < ASK_AFTER => connection,
            Some((mut connection, _)) => match timeout(ANSWER_WITHIN, connection.ping()).await {
                Ok(Ok(())) => connection,
                _ => {
                    connection.close_on_drop();
                    self.at_hand().clear();
                    self.pool.acquire().await?
                }
            },
            None => self.pool.acquire().await?,
        };
        Ok(Lent { kept: self, connection: Some(connection) })
    }

    fn at_hand(&self) -> MutexGuard<'_, Vec<(PoolConnection<Postgres>, Instant)>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// For the next who wants one: the last answer has come, and no transaction is open.
    pub fn keep(mut self) {
        let (kept, connection) = (self.kept, self.connection.take());
        let mut at_hand = kept.at_hand();
        // Else it goes to the pool, as no sign of trouble.
        if at_hand.len() < kept.most {
            at_hand.extend(connection.map(|connection| (connection, Instant::now())));
        }
    }

    /// It does not answer, and shall not be asked again.
    pub fn close(mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.kept.at_hand().clear();
        }
    }
}

const HELD: &str = "a connection is there until it is kept or dropped";

impl Deref for Lent<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect(HELD)
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect(HELD)
    }
}
