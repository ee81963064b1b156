//! A nats-server with JetStream, one for each test: its streams have the names of the real shop, and its users
//! may do what they may there.

use std::path::{Path, PathBuf};

use events::permissions;
use rustix::process::Signal;

use crate::process::{Process, free_port, server_program};

pub struct Broker {
    port: u16,
    store: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Broker {
    pub fn start(store: PathBuf, log: PathBuf) -> Broker {
        let mut broker = Broker { port: free_port(), store, log, process: None };
        let users = permissions::nats_users(|user| format!("{:?}", password(user)));
        // The streams' limits are reserved when they are made; by default, as much as three quarters of what is
        // free on the disk would have to hold them.
        let jetstream = format!("jetstream {{ store_dir: {:?}, max_file_store: 16GB }}", broker.store);
        std::fs::write(broker.config(), format!("{jetstream}\nauthorization {{\n{users}}}\n")).unwrap();
        broker.start_again();
        broker
    }

    pub fn start_again(&mut self) {
        let (program, port) = (server_program("NATS_SERVER"), self.port.to_string());
        let config = self.config();
        let config = config.to_str().unwrap();
        let command = [&program, "-c", config, "-a", "127.0.0.1", "-p", &port];
        self.process = Some(Process::start(&command, &[], "KILL", &self.log));
    }

    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::KILL);
        }
    }

    /// Sets aside a copy of what is stored now, while the broker runs, as a disk has it when a machine crashes.
    pub fn copy_store(&self) {
        let _ = std::fs::remove_dir_all(self.copy());
        copy_files(&self.store, &self.copy());
    }

    /// Puts the copy in place of what is stored: what came since is lost. Without a copy everything is.
    pub fn lose_newer(&self) {
        assert!(self.process.is_none(), "stop the broker first");
        std::fs::remove_dir_all(&self.store).unwrap();
        if self.copy().exists() {
            std::fs::rename(self.copy(), &self.store).unwrap();
        }
    }

    /// As above for the messages alone: the disk had the newer positions of the consumers.
    pub fn lose_newer_messages(&self) {
        assert!(self.process.is_none(), "stop the broker first");
        replace_messages(&self.copy(), &self.store);
    }

    fn copy(&self) -> PathBuf {
        self.store.with_extension("copy")
    }

    fn config(&self) -> PathBuf {
        self.store.with_extension("conf")
    }

    pub fn url(&self, user: &str) -> String {
        format!("nats://{user}:{}@127.0.0.1:{}", password(user), self.port)
    }
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), target) {
            // The broker renames its files as it goes.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

/// Replaces each folder of messages, known by its name, with the one of the copy.
fn replace_messages(copy: &Path, store: &Path) {
    for entry in std::fs::read_dir(copy).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let (from, to) = (entry.path(), store.join(entry.file_name()));
        if entry.file_name() == "msgs" {
            std::fs::remove_dir_all(&to).unwrap();
            copy_files(&from, &to);
        } else {
            replace_messages(&from, &to);
        }
    }
}
