//! The mailbox of a shop without containers: an SMTP server that stands in for everybody outside who gets mail from the
//! shop, and keeps each mail as a file. `scripts/up` starts it. In containers Mailpit has this place.
//!
//! mailin speaks the protocol. It announces no SIZE, knows no empty sender (bounces) and no TLS without a certificate;
//! the shop needs none of them.

mod clerk;
mod connection;
mod lines;
mod maildir;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use mailin::SessionBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::clerk::Clerk;
use crate::maildir::Maildir;

/// More than these wait until one of them ends.
const CONNECTIONS: usize = 256;

/// Takes mail by SMTP and keeps it in a Maildir.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the Maildir. It is made if it is not there; a mail is a file in its folder `new`.
    folder: PathBuf,
    /// Where to listen, for example 127.0.0.1:1025. Whoever reaches it can put mail there.
    #[arg(value_name = "HOST:PORT")]
    address: SocketAddr,
}

/// One thread is enough: writing a mail, which does not wait for the disk, takes some microseconds.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Arguments { folder, address } = Arguments::parse();
    let maildir = Maildir::open(&folder)
        .with_context(|| format!("cannot keep mails in {}: is it a folder of yours?", folder.display()))?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is it in use?"))?;
    println!("mails to {} are kept in {}", listener.local_addr()?, folder.join("new").display());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // At once: a mail is stored in one go before its sender hears so, and never half.
    tokio::select! {
        never = receive(listener, Arc::new(maildir)) => never,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

async fn receive(listener: TcpListener, maildir: Arc<Maildir>) -> Result<()> {
    let sessions = SessionBuilder::new("mailbox");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (stream, sender) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of one connection, or for want of file handles: neither is mended by ending.
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let session = sessions.build(sender.ip(), Clerk::new(Arc::clone(&maildir)));
        tokio::spawn(async move {
            let _place = place;
            // Answers are small and waited for.
            let _ = stream.set_nodelay(true);
            // It ends with an error when a sender is killed, which is its business.
            let _ = connection::serve(stream, session).await;
        });
    }
}
