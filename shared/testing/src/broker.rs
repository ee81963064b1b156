//! A nats-server with JetStream, one for each test: its streams have the names of the real shop.

use std::path::PathBuf;

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
        broker.start_again();
        broker
    }

    pub fn start_again(&mut self) {
        let (program, port) = (server_program("NATS_SERVER"), self.port.to_string());
        let store = self.store.to_str().unwrap();
        let command = [&program, "-a", "127.0.0.1", "-p", &port, "-js", "-sd", store];
        self.process = Some(Process::start(&command, &[], "KILL", &self.log));
    }

    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::KILL);
        }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}
