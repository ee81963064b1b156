//! The relay's own session with the database, and the lead. One relay at a time publishes in each database, so that an order's
//! events leave in the order in which they were written. Who leads holds an advisory lock, as long as its session lasts.

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

/// "outbox", in ASCII.
const LEADER: i64 = 0x6f75_7462_6f78;

pub struct Session {
    connection: PoolConnection<Postgres>,
    leads: bool,
}

impl Session {
    /// Dropped, it is closed, and the lead is free.
    pub async fn open(pool: &PgPool) -> Result<Session, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        connection.close_on_drop();
        Ok(Session { connection, leads: false })
    }

    /// The connection to publish with, if this relay leads, or nobody else does.
    ///
    /// A leader that was paused loses its session, and with it the lead, before a successor has waited for long. Commits do not
    /// wait for the disk: marks that a crash of the database takes back are rows published again, and known by their ids.
    /// Without sorting, a claim walks its index in order, whatever the statistics say; a plan that sorts reads the whole
    /// backlog for each claim.
    pub async fn lead(&mut self) -> Result<Option<&mut PgConnection>, sqlx::Error> {
        if !self.leads {
            (self.leads, ..) = sqlx::query_as::<_, (bool, String, String, String)>(
                "select pg_try_advisory_lock($1), set_config('idle_session_timeout', '5s', false),
                        set_config('synchronous_commit', 'off', false), set_config('enable_sort', 'off', false)",
            )
            .bind(LEADER)
            .fetch_one(&mut *self.connection)
            .await?;
        }
        Ok(self.leads.then_some(&mut self.connection))
    }
}
