//! A time limit for what is asked of the database. The server's own `statement_timeout` does not help when
//! the answer never arrives: a connection whose other end has vanished stays silent for ever.

use std::io::{Error, ErrorKind};
use std::time::Duration;

/// More than any statement may take that the server still answers.
pub const LIMIT: Duration = Duration::from_secs(8);

/// Fails as a broken connection would when there is no answer in time.
///
/// What asks a database has a state of some 9 KB. It is on the heap, or everything that may come to ask would be larger by
/// twice that, and be copied with it.
pub fn bounded<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> impl Future<Output = Result<T, sqlx::Error>> {
    let work = Box::pin(work);
    async move {
        match tokio::time::timeout(LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("no answer within {LIMIT:?}")).into()),
        }
    }
}
