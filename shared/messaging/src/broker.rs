//! How to reach the broker: one or more server addresses with the credentials in the URL, as in
//! `nats://user:password@host:4222,nats://other-host:4222`. The client library itself ignores the user part.

use async_nats::{Client, ConnectOptions, ServerAddr};

use crate::streams::SetupError;

/// Options that sign in as the URL says, and the servers to connect to. User and password stand in the URL
/// as they are, without percent-encoding.
pub fn parse(urls: &str) -> Result<(ConnectOptions, Vec<ServerAddr>), String> {
    let servers: Vec<ServerAddr> = urls
        .split(',')
        .map(|url| url.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not of the form nats://user:password@host:port: {error}"))?;
    let credentials = servers.iter().find_map(|server| Some((server.username()?, server.password()?)));
    let options = match credentials {
        Some((user, password)) => {
            ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
        }
        None => ConnectOptions::new(),
    };
    Ok((options, servers))
}

/// The oldest nats-server whose consumers can be set back to where a reader died, and find their place again
/// after the broker has lost its tail.
const OLDEST: (u64, u64) = (2, 14);

/// Refuses a broker on which the promises would not hold.
pub fn check_version(client: &Client) -> Result<(), SetupError> {
    let version = client.server_info().version;
    // Not connected yet.
    if version.is_empty() {
        return Ok(());
    }
    let (major, minor) = OLDEST;
    let mut numbers = version.split('.').map_while(|number| number.parse::<u64>().ok());
    if (numbers.next(), numbers.next()) >= (Some(major), Some(minor)) {
        return Ok(());
    }
    Err(SetupError::Conflict(format!(
        "the broker is nats-server {version}, which loses its place after a crash; the shop needs {major}.{minor} or newer"
    )))
}
