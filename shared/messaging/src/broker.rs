//! How to reach the broker: one or more server addresses with the credentials in the URL, as in
//! `nats://user:password@host:4222,nats://other-host:4222`. The client library itself ignores the user part.
//! And what to say when it refuses something.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use async_nats::{Client, ConnectOptions, ServerAddr, ServerError};
use events::permissions;

use crate::streams::SetupError;

/// Options that sign in as the URL says, and the servers to connect to. User and password stand in the URL
/// as they are, without percent-encoding. Answers come to the user's own inbox, the only one it may read.
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
                .custom_inbox_prefix(permissions::inbox(user))
        }
        None => ConnectOptions::new(),
    };
    Ok((options, servers))
}

/// Believes a broker whose certificate was signed by the authority in this file, and no other, and speaks TLS
/// or not at all.
pub fn trusting(options: ConnectOptions, authority: Option<&Path>) -> ConnectOptions {
    match authority {
        Some(file) => options.add_root_certificates(file.to_owned()).require_tls(true),
        None => options,
    }
}

/// What the broker refuses by this error, as in `publish to "orders.created.*"`, if it does. The client only
/// learns it on the side: the request itself looks like one whose answer is late.
pub fn refused(error: &ServerError) -> Option<String> {
    let text = error.to_string().to_lowercase();
    let (_, what) = text.split_once("permissions violation for ")?;
    Some(without_numbers(what))
}

/// What the broker has refused so far, to tell each thing once.
#[derive(Default)]
pub struct Refusals(Mutex<HashSet<String>>);

/// So that names that are never the same twice do not fill the memory.
const REFUSALS: usize = 100;

impl Refusals {
    pub fn is_news(&self, refused: &str) -> bool {
        let mut known = self.0.lock().expect("no thread panics with the refusals in hand");
        known.len() < REFUSALS && known.insert(refused.to_owned())
    }
}

/// Partitions, and the places of acknowledged messages, would make many things of one.
fn without_numbers(what: &str) -> String {
    let tokens = what.split('.').map(|token| {
        let number = token.trim_end_matches('"');
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { token.replace(number, "*") } else { token.to_owned() }
    });
    tokens.collect::<Vec<_>>().join(".")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_told_once() {
        let refusals = Refusals::default();
        let told = |text: &str| {
            let refused = refused(&ServerError::Other(text.to_owned()))?;
            refusals.is_news(&refused).then_some(refused)
        };
        let first = told(r#"Permissions Violation for Publish to "orders.created.3""#);
        assert_eq!(first.as_deref(), Some(r#"publish to "orders.created.*""#));
        assert_eq!(told(r#"Permissions Violation for Publish to "orders.created.4""#), None);
        assert!(told(r#"Permissions Violation for Subscription to ">""#).is_some());
        assert_eq!(refused(&ServerError::Other("Maximum Payload Violation".to_owned())), None);
    }
}
