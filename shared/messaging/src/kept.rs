//! Connections for those who run one transaction after the other. A pool asks a connection it gives out whether it is still
//! there, and asks twice when it comes back: as many round trips as a small transaction has itself. So those that did well are
//! kept at hand and given to the next without a question.

use std::sync::{Mutex, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

pub struct Kept {
    pool: PgPool,
    at_hand: Mutex<Vec<PoolConnection<Postgres>>>,
    most: usize,
}

impl Kept {
    /// Half of what the pool has, at most. The others are for those who ask now and then.
    pub fn new(pool: PgPool) -> Kept {
        let most = pool.options().get_max_connections() as usize / 2;
        Kept { pool, at_hand: Mutex::default(), most }
    }

    pub async fn take(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match at_hand {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    /// `did_well` when the last answer has come and no transaction is open. Otherwise it goes to the pool, which asks it, and so
    /// does all that is kept: what broke one may have broken them all.
    pub fn give_back(&self, connection: PoolConnection<Postgres>, did_well: bool) {
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if !did_well {
            at_hand.clear();
        } else if at_hand.len() < self.most {
            at_hand.push(connection);
        }
    }
}
