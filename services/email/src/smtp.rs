//! The SMTP server, and what its answers mean for a mail.
//!
//! Connections are kept here and not in the library's pool, which leaves Nagle's algorithm on: a mail's body and
//! its closing dot are two writes, so each mail would wait 40 ms for a delayed acknowledgement of the first
//! (RFC 1122, section 4.2.3.2), five times as long as everything else about it. Where the server allows it, what comes
//! before the body is said in one breath (PIPELINING, RFC 2920): two round trips for a mail instead of four.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use messaging::{Failure, failpoint};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

/// For one's turn and a connection. Some servers let a stranger wait for six seconds before they greet.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a connection that was used before and may be gone; one that is there answers at once.
const PATIENCE_WITH_A_USED_ONE: Duration = Duration::from_secs(5);
/// For all that is said about a mail.
const PATIENCE_WITH_A_MAIL: Duration = Duration::from_secs(25);
/// A connection that rested for longer may be gone without a word.
const REST: Duration = Duration::from_secs(30);
/// The server closes the connection (RFC 5321, section 4.2.3).
const CLOSING: u16 = 421;
const SILENT: &str = "the SMTP server does not answer";

pub struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    hello: ClientId,
    /// Servers count connections, and refuse those that are too many.
    places: Semaphore,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

enum Tls {
    None,
    /// STARTTLS (RFC 3207).
    Upgrade(TlsParameters),
    /// From the first byte (RFC 8314).
    Implicit(TlsParameters),
}

struct Connection {
    smtp: AsyncSmtpConnection,
    pipelining: bool,
}

/// A mail that was not handed over.
pub struct Undelivered {
    pub failure: Failure,
    /// The connection broke before the server's answer came: it may have taken the mail all the same.
    pub perhaps_sent: bool,
}

impl Smtp {
    /// `smtp://host:port`, `smtps://user:password@host`, or `smtp://host?tls=required` for STARTTLS; and how many
    /// connections there may be.
    pub fn new(url: &SecretString, connections: usize) -> anyhow::Result<Smtp> {
        parse(url.expose_secret(), connections)
            .context("SMTP_URL is not of the form smtp://host:port or smtps://user:password@host:port")
    }

    /// Hands over one mail. When the server takes none at all (it is away, shutting down, or does not accept our
    /// password), no mail is to blame and all of them wait.
    pub async fn send(&self, message: &Message) -> Result<(), Undelivered> {
        let mail = message.formatted();
        // The library knows what else a server has to be able to do.
        let is_plain =
            mail.is_ascii() && message.envelope().to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii());
        let opening = async {
            let place = self.places.acquire().await.map_err(|closed| waiting(closed.to_string()))?;
            match self.take_idle() {
                Some(connection) if is_plain => Ok((place, connection, true)),
                _ => Ok((place, self.connect().await?, false)),
            }
        };
        let opened = timeout(PATIENCE, opening).await;
        let (_place, mut connection, is_used) = opened.unwrap_or_else(|_| Err(waiting(SILENT)))?;
        let handing_over = async move {
            if is_plain {
                connection = self.offer(connection, is_used, message).await?;
            }
            failpoint::dies_at("mail-before-send");
            let taken = match is_plain {
                true => connection.smtp.message(&mail).await,
                false => connection.smtp.send(message.envelope(), &mail).await,
            };
            taken.map_err(|error| {
                let perhaps_sent = error.status().is_none() && !error.is_client();
                Undelivered { failure: judge(error), perhaps_sent }
            })?;
            Ok(connection)
        };
        let connection = timeout(PATIENCE_WITH_A_MAIL, handing_over).await.unwrap_or_else(|_| {
            let failure = Failure::Retry(SILENT.into());
            Err(Undelivered { failure, perhaps_sent: true })
        })?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), connection));
        Ok(())
    }

    /// Says from whom a mail comes, and for whom. A connection that was used before may be gone; then on a new one.
    async fn offer(
        &self,
        mut connection: Connection,
        is_used: bool,
        message: &Message,
    ) -> Result<Connection, Undelivered> {
        let refused = |error| Undelivered { failure: judge(error), perhaps_sent: false };
        if is_used {
            match timeout(PATIENCE_WITH_A_USED_ONE, connection.offer(message)).await {
                Ok(Ok(())) => return Ok(connection),
                Ok(Err(error)) if error.status().is_some_and(|code| u16::from(code) != CLOSING) => {
                    return Err(refused(error));
                }
                Ok(Err(_)) | Err(_) => connection = self.connect().await?,
            }
        }
        connection.offer(message).await.map_err(refused)?;
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < REST);
        idle.pop().map(|(_, connection)| connection)
    }

    async fn connect(&self) -> Result<Connection, Undelivered> {
        // On the heap: it is rare, and its state would be carried by every mail.
        match timeout(PATIENCE, Box::pin(self.try_connect())).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(waiting(format!("the SMTP server takes no mail: {error:#}"))),
            Err(_) => Err(waiting(SILENT)),
        }
    }

    async fn try_connect(&self) -> anyhow::Result<Connection> {
        let address = (self.host.as_str(), self.port);
        let mut smtp = match &self.tls {
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
            smtp.starttls(tls.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            smtp.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        // Once more, for the library does not tell of this extension.
        let offers = smtp.command(Ehlo::new(self.hello.clone())).await?;
        let pipelining = offers.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"));
        Ok(Connection { smtp, pipelining })
    }
}

impl Connection {
    async fn offer(&mut self, message: &Message) -> Result<(), Error> {
        let envelope = message.envelope();
        let mut commands = vec![Mail::new(envelope.from().cloned(), Vec::new()).to_string()];
        commands.extend(envelope.to().iter().map(|to| Rcpt::new(to.clone(), Vec::new()).to_string()));
        commands.push(Data.to_string());
        if self.pipelining {
            self.smtp.command(commands.concat()).await?;
            for _ in 1..commands.len() {
                self.smtp.read_response().await?;
            }
        } else {
            for command in commands {
                self.smtp.command(command).await?;
            }
        }
        Ok(())
    }
}

fn waiting(why: impl Into<String>) -> Undelivered {
    Undelivered { failure: Failure::Unavailable(why.into().into()), perhaps_sent: false }
}

fn parse(url: &str, connections: usize) -> anyhow::Result<Smtp> {
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
        places: Semaphore::new(connections.max(1)),
        idle: Mutex::default(),
    })
}

/// Reply codes by RFC 5321, section 4.2.1: 4yz may work later, 5yz never will. 421 may be a server that closes, or one that
/// has had enough of this recipient: the next attempt tells.
fn judge(error: Error) -> Failure {
    if error.is_permanent() || error.is_client() {
        Failure::Reject(format!("the SMTP server refuses this mail: {error}"))
    } else {
        Failure::Retry(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> anyhow::Result<Smtp> {
        Smtp::new(&SecretString::from(url.to_owned()), 1)
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
