//! How to reach the broker: one or more server addresses with the credentials in the URL, as in
//! `nats://user:password@host:4222,nats://other-host:4222`. The client library itself ignores the user part.

use async_nats::{ConnectOptions, ServerAddr};

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
