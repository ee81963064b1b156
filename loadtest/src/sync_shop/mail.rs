//! Mail as the old shop sent it: over SMTP, and the customer waits for the server's answer. Connections are
//! kept, and without Nagle's delay, so that it is not slower than it has to be.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lettre::Message;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Mailer {
    host: String,
    port: u16,
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl Mailer {
    pub fn new(url: &str) -> Result<Mailer> {
        let url: Url = url.parse().context("SMTP_URL is no URL")?;
        let host = url.host_str().context("SMTP_URL names no host")?.to_owned();
        Ok(Mailer { host, port: url.port().unwrap_or(25), idle: Mutex::default() })
    }

    pub async fn send(&self, id: &str, customer: &str, cents: i64) -> Result<()> {
        let message = Message::builder()
            .from("shop@coffee.example".parse()?)
            .to(format!("{customer}@example.com").parse()?)
            .subject(format!("We have your order: {id}"))
            .body(format!("Thank you! Your order {id} comes to {} cents.\r\n", cents))?;
        let mut connection =
            timeout(PATIENCE, self.take()).await.context("the SMTP server does not answer")??;
        let formatted = message.formatted();
        let handed = connection.send(message.envelope(), &formatted);
        timeout(PATIENCE, handed).await.context("the SMTP server does not answer")??;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(())
    }

    async fn take(&self) -> Result<AsyncSmtpConnection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(mut connection) => {
                    if connection.test_connected().await {
                        return Ok(connection);
                    }
                }
                None => return self.connect().await,
            }
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.context("the SMTP server takes no mail")?;
        stream.set_nodelay(true)?;
        Ok(AsyncSmtpConnection::connect_with_transport(Box::new(stream), &ClientId::default()).await?)
    }
}
