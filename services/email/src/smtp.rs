//! The SMTP server, and what its answers mean for a mail.

use std::time::Duration;

use anyhow::Context;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use messaging::Failure;
use secrecy::{ExposeSecret, SecretString};

/// For one command; the server answers each at once or has a problem.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// A mail that was not handed over.
pub struct Undelivered {
    pub failure: Failure,
    /// The connection broke before the server's answer came: it may have taken the mail all the same.
    pub perhaps_sent: bool,
}

impl Smtp {
    /// `smtp://host:port`, `smtps://user:password@host`, or `smtp://host?tls=required` for STARTTLS. Keeps up
    /// to `connections` open.
    pub fn new(url: &SecretString, connections: u32) -> anyhow::Result<Smtp> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
            .context("SMTP_URL is not of the form smtp://host:port or smtps://user:password@host:port")?
            .timeout(Some(PATIENCE))
            .pool_config(PoolConfig::new().max_size(connections))
            .build();
        Ok(Smtp { transport })
    }

    /// Whether the server takes mail from us at all. When it does not (it is away, shutting down, or does
    /// not accept our password), no mail is to blame and all of them wait.
    pub async fn knock(&self) -> Result<(), Failure> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::Unavailable("the SMTP server hung up".into())),
            Err(error) => Err(Failure::Unavailable(format!("the SMTP server takes no mail: {error}").into())),
        }
    }

    pub async fn send(&self, message: Message) -> Result<(), Undelivered> {
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(judge(error)),
        }
    }
}

/// Reply codes by RFC 5321, section 4.2.1: 4yz may work later, 5yz never will; 421 is a server that closes.
fn judge(error: Error) -> Undelivered {
    let perhaps_sent = error.status().is_none() && !error.is_client();
    let closing = error.status().is_some_and(|code| code.to_string() == "421");
    let failure = if closing {
        Failure::Unavailable(error.into())
    } else if error.is_permanent() || error.is_client() {
        Failure::Reject(format!("the SMTP server refuses this mail: {error}"))
    } else {
        Failure::Retry(error.into())
    };
    Undelivered { failure, perhaps_sent }
}
