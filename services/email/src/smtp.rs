//! The SMTP server, and what its answers mean for a mail.
//!
//! Connections are kept here and not in the library's pool, which leaves Nagle's algorithm on: a mail's body and
//! its closing dot are two writes, so each mail would wait 40 ms for a delayed acknowledgement of the first
//! (RFC 1122, section 4.2.3.2), five times as long as everything else about it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use messaging::Failure;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// For a connection, or a word on one that we have; the server answers at once or has a problem.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the four commands of a mail.
const PATIENCE_WITH_A_MAIL: Duration = Duration::from_secs(25);

pub struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    hello: ClientId,
    /// Never more than the tasks that are under way at once.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

enum Tls {
    None,
    /// STARTTLS (RFC 3207).
    Upgrade(TlsParameters),
    /// From the first byte (RFC 8314).
    Implicit(TlsParameters),
}

/// A connection whose server is ready for a mail.
pub struct Line<'a> {
    smtp: &'a Smtp,
    connection: AsyncSmtpConnection,
}

/// A mail that was not handed over.
pub struct Undelivered {
    pub failure: Failure,
    /// The connection broke before the server's answer came: it may have taken the mail all the same.
    pub perhaps_sent: bool,
}

impl Smtp {
    /// `smtp://host:port`, `smtps://user:password@host`, or `smtp://host?tls=required` for STARTTLS.
    pub fn new(url: &SecretString) -> anyhow::Result<Smtp> {
        parse(url.expose_secret())
            .context("SMTP_URL is not of the form smtp://host:port or smtps://user:password@host:port")
    }

    /// Whether the server takes mail from us at all. When it does not (it is away, shutting down, or does
    /// not accept our password), no mail is to blame and all of them wait.
    pub async fn knock(&self) -> Result<Line<'_>, Failure> {
        let knock = async {
            while let Some(mut connection) = self.take_idle() {
                if connection.test_connected().await {
                    return Ok(connection);
                }
            }
            self.connect().await
        };
        let connection = match timeout(PATIENCE, knock).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return Err(Failure::Unavailable(format!("the SMTP server takes no mail: {error:#}").into()));
            }
            Err(_) => return Err(Failure::Unavailable("the SMTP server does not answer".into())),
        };
        Ok(Line { smtp: self, connection })
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn connect(&self) -> anyhow::Result<AsyncSmtpConnection> {
        let address = (self.host.as_str(), self.port);
        let mut connection = match &self.tls {
            Tls::Implicit(tls) => {
                let tls = Some(tls.clone());
                AsyncSmtpConnection::connect_tokio1(address, Some(PATIENCE), &self.hello, tls, None).await?
            }
            Tls::None | Tls::Upgrade(_) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await?
            }
        };
        if let Tls::Upgrade(tls) = &self.tls {
            connection.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

impl Line<'_> {
    pub async fn send(mut self, message: &Message) -> Result<(), Undelivered> {
        let formatted = message.formatted();
        match timeout(PATIENCE_WITH_A_MAIL, self.connection.send(message.envelope(), &formatted)).await {
            Ok(Ok(_)) => {
                let mut idle = self.smtp.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.push(self.connection);
                Ok(())
            }
            Ok(Err(error)) => Err(judge(error)),
            Err(_) => Err(Undelivered {
                failure: Failure::Retry("the SMTP server does not answer".into()),
                perhaps_sent: true,
            }),
        }
    }
}

fn parse(url: &str) -> anyhow::Result<Smtp> {
    let url = Url::parse(url)?;
    let host = url.host_str().context("it names no host")?.to_owned();
    let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let (tls, usual_port) = match (url.scheme(), asked.as_deref()) {
        ("smtp", None) => (Tls::None, 25),
        ("smtp", Some("required")) => (Tls::Upgrade(TlsParameters::new(host.clone())?), 587),
        ("smtps", None) => (Tls::Implicit(TlsParameters::new(host.clone())?), 465),
        ("smtp" | "smtps", Some(other)) => {
            bail!("tls={other} is not known: leave it out, or write smtp://host?tls=required")
        }
        (other, _) => bail!("{other}:// is neither smtp:// nor smtps://"),
    };
    let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().map(String::from);
    let credentials = match url.password() {
        Some(password) => Some(Credentials::new(decoded(url.username())?, decoded(password)?)),
        None => None,
    };
    Ok(Smtp {
        host,
        port: url.port().unwrap_or(usual_port),
        tls,
        credentials,
        hello: ClientId::default(),
        idle: Mutex::default(),
    })
}

/// Reply codes by RFC 5321, section 4.2.1: 4yz may work later, 5yz never will. 421 may be a server that closes, or one that
/// has had enough of this recipient: the next knock tells.
fn judge(error: Error) -> Undelivered {
    let perhaps_sent = error.status().is_none() && !error.is_client();
    let failure = if error.is_permanent() || error.is_client() {
        Failure::Reject(format!("the SMTP server refuses this mail: {error}"))
    } else {
        Failure::Retry(error.into())
    };
    Undelivered { failure, perhaps_sent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> anyhow::Result<Smtp> {
        Smtp::new(&SecretString::from(url.to_owned()))
    }

    #[test]
    fn ports_and_tls_follow_the_scheme() {
        let smtp = of("smtp://mail.example:2525").expect("valid");
        assert!(matches!((smtp.port, &smtp.tls, &smtp.credentials), (2525, Tls::None, None)));
        let smtp = of("smtps://me%40shop:se%2Fcret@mail.example").expect("valid");
        assert!(matches!((smtp.port, &smtp.tls), (465, Tls::Implicit(_))));
        assert_eq!(smtp.credentials, Some(Credentials::new("me@shop".to_owned(), "se/cret".to_owned())));
        let smtp = of("smtp://mail.example?tls=required").expect("valid");
        assert!(matches!((smtp.port, &smtp.tls), (587, Tls::Upgrade(_))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_the_password() {
        for url in ["mail.example", "http://mail.example", "smtp://a:pa55@mail.example?tls=maybe", "smtp://"]
        {
            let error = format!("{:#}", of(url).err().expect(url));
            assert!(error.contains("SMTP_URL") && !error.contains("pa55"), "{error}");
        }
    }
}
