//! The mailbox of the demonstration, `tools/mailbox`: a real SMTP server that keeps what it receives in a Maildir.

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::process::{Process, free_port};
use crate::sibling_binary;

pub struct Mailbox {
    port: u16,
    maildir: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Mailbox {
    pub(crate) async fn start(maildir: PathBuf, log: PathBuf) -> Mailbox {
        let mut mailbox = Mailbox { port: free_port(), maildir, log, process: None };
        mailbox.start_again().await;
        mailbox
    }

    pub async fn start_again(&mut self) {
        let (program, address) = (sibling_binary("mailbox"), format!("127.0.0.1:{}", self.port));
        let command = [program.to_str().unwrap(), self.maildir.to_str().unwrap(), &address];
        self.process = Some(Process::start(&command, &[], "KILL", &self.log));
        crate::eventually("the mailbox accepts connections", async || {
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::KILL);
        }
    }

    pub fn smtp_url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Where it keeps them.
    pub fn maildir(&self) -> &Path {
        &self.maildir
    }

    /// Every mail received so far, as it came over the wire.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.maildir.join("new")) else { return Vec::new() };
        entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect()
    }
}
