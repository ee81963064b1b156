//! What a handler's error asks the runtime to do, and how it is told whether the trouble is the event's or
//! the world's.

use std::error::Error;
use std::{fmt, iter};

/// SQLSTATE of a statement that waited for a lock for longer than `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

pub(crate) type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Why an event was not processed.
#[derive(Debug)]
pub enum Failure {
    /// Try again later; bury it when the attempts are used up. This is what `?` makes of any error.
    Retry(BoxError),
    /// It will never work: bury it now, with this reason.
    Reject(String),
    /// Something outside is away, and the event is not to blame: wait for it, and count no attempt.
    Unavailable(BoxError),
}

impl Failure {
    /// Another instance has written, at the same moment, a row that a handler took for missing: what it wrote has to
    /// be read first. Handlers that look for rows and insert those they did not find end with this.
    pub fn overtaken() -> Failure {
        Failure::Unavailable("another instance has just written about one of these orders".into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Retry(error) | Failure::Unavailable(error) => error.fmt(f),
            Failure::Reject(reason) => f.write_str(reason),
        }
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        if is_away(&*error) { Failure::Unavailable(error) } else { Failure::Retry(error) }
    }
}

/// Turns an error into a rejection: `parse(&event).reject()?`.
pub trait Rejectable<T> {
    fn reject(self) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Rejectable<T> for Result<T, E> {
    fn reject(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Reject(error.to_string()))
    }
}

/// Whether the database, rather than the event, is the reason: lost connections, a server that starts or
/// stops, no connection to be had, locks that others hold, and conflicts that the next try resolves.
fn is_away(error: &(dyn Error + 'static)) -> bool {
    match of_database(error) {
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => true,
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| is_passing(&code)),
        _ => false,
    }
}

/// Whether somebody else holds a lock: the one thing that may be in the way of one event and not of the next.
pub(crate) fn is_locked(error: &(dyn Error + 'static)) -> bool {
    let code = of_database(error).and_then(sqlx::Error::as_database_error).and_then(|error| error.code());
    code.as_deref() == Some(LOCK_NOT_AVAILABLE)
}

fn of_database<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a sqlx::Error> {
    iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// SQLSTATE classes and codes of conditions that pass by themselves
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn is_passing(sqlstate: &str) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "58")
        || matches!(
            sqlstate,
            "25P03" | "40001" | "40P01" | LOCK_NOT_AVAILABLE | "57P01" | "57P02" | "57P03" | "25006"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_nobodys_fault_and_a_bad_value_is_the_events() {
        let lost = sqlx::Error::Io(std::io::Error::other("connection reset"));
        assert!(matches!(Failure::from(lost), Failure::Unavailable(_)));
        assert!(matches!(Failure::from(sqlx::Error::RowNotFound), Failure::Retry(_)));
        assert!(matches!(Err::<(), _>("no such item").reject(), Err(Failure::Reject(_))));
    }
}
