//! A time limit for what is asked of the database. The server's own `statement_timeout` does not help when
//! the answer never arrives: a connection whose other end has vanished stays silent for ever.

use std::io::{Error, ErrorKind};
use std::time::Duration;

/// More than any statement may take that the server still answers.
pub const LIMIT: Duration = Duration::from_secs(8);

/// Fails as a broken connection would when there is no answer in time.
pub async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("no answer within {LIMIT:?}")).into()),
    }
}
