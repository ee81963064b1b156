//! Email: tells the customer that an order was received, cancelled, or is ready.

mod domain;
mod handlers;
mod letter;
mod routes;
mod sender;
mod smtp;
mod store;
mod task;

use clap::Parser;
use lettre::message::Mailbox;
use secrecy::SecretString;
use service::{Service, StaffToken};

#[derive(Parser)]
#[command(version, about = "Mails customers about their orders")]
struct Config {
    #[command(flatten)]
    service: service::Config,
    #[command(flatten)]
    staff: StaffToken,
    /// The SMTP server: smtp://host:port, smtps://user:password@host, smtp://host?tls=required
    #[arg(long, env, hide_env_values = true, default_value = "smtp://127.0.0.1:1025")]
    smtp_url: SecretString,
    /// Connections to the SMTP server at the same time.
    #[arg(long, env, default_value_t = 16)]
    smtp_connections: usize,
    /// The sender of every mail.
    #[arg(long, env, default_value = "The Coffee Shop <orders@coffee-shop.example>")]
    mail_from: Mailbox,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let mut service = Service::start("email", config.service, sqlx::migrate!()).await?;
    let smtp = smtp::Smtp::new(&config.smtp_url, config.smtp_connections)?;
    let pool = service.pool.clone();
    sender::describe();
    service.consume(handlers::Orders)?; // OrderCreated, OrderCancelled, OrderReady
    service.work(sender::Sender::new(pool.clone(), &service.kept, smtp, config.mail_from))?;
    service.serve(routes::router(pool, config.staff)).await
}
