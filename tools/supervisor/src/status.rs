//! What the supervisor knows about each process, for itself and for the `up` commands that wait for it.
//!
//! The supervisor changes the status; a writer task copies every change to `.run/status.json`. A command in
//! another terminal reads that file and believes it only while its supervisor lives (see `lock`).

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::catalogue::Instance;
use crate::place::{Place, write_private};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Running, and not known to be ready.
    Starting,
    Ready,
    Dead,
    Stopping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    pub state: State,
    /// Deaths in a row.
    pub deaths: u32,
    /// How it last died.
    pub last_death: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub supervisor: u32,
    /// The instances that should run, once the supervisor has seen to them.
    pub wanted: Vec<String>,
    pub parts: BTreeMap<String, PartStatus>,
    /// Why the shop could not open.
    pub failure: Option<String>,
}

impl Status {
    pub fn read(place: &Place) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(place.status()).ok()?).ok()
    }

    pub fn is_ready(&self, name: &str) -> bool {
        self.parts.get(name).is_some_and(|part| part.state == State::Ready)
    }

    /// Ready, or something that nobody has to wait for.
    pub fn is_good(&self, name: &str) -> bool {
        let optional = Instance::parse(name).is_some_and(|instance| instance.is_optional());
        self.is_ready(name) || optional && self.parts.get(name).is_some_and(|part| part.state == State::Dead)
    }

    /// Everything that should run is, and nothing else is left.
    pub fn is_settled(&self) -> bool {
        self.wanted.iter().all(|name| self.is_good(name)) && self.parts.len() == self.wanted.len()
    }
}

/// The status as the supervisor's tasks share it.
#[derive(Debug, Clone)]
pub struct Board(watch::Sender<Status>);

impl Board {
    pub fn new() -> Self {
        Self(watch::Sender::new(Status { supervisor: std::process::id(), ..Status::default() }))
    }

    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    pub fn change(&self, change: impl FnOnce(&mut Status)) {
        self.0.send_modify(change);
    }

    /// When a server is ready, what was ready without it has to show that it still is.
    pub fn set(&self, instance: &Instance, state: State, deaths: u32, last_death: Option<String>) {
        let status = PartStatus { state, deaths, last_death };
        let ask_again = state == State::Ready && instance.is_server();
        self.change(|all| {
            for (name, part) in all.parts.iter_mut().filter(|_| ask_again) {
                let is_service = Instance::parse(name).is_some_and(|instance| !instance.is_server());
                if is_service && part.state == State::Ready {
                    part.state = State::Starting;
                }
            }
            all.parts.insert(instance.to_string(), status);
        });
    }

    pub fn remove(&self, instance: &Instance) {
        self.change(|all| {
            all.parts.remove(&instance.to_string());
        });
    }

    /// Writes the status as it is now.
    pub fn write(&self, place: &Place) -> anyhow::Result<()> {
        write_private(&place.status(), &serde_json::to_string_pretty(&*self.0.borrow())?)
    }

    /// Writes every change from now on.
    pub async fn keep_written(self, place: Place) {
        let mut changes = self.subscribe();
        while changes.changed().await.is_ok() {
            changes.mark_unchanged();
            if let Err(error) = self.write(&place) {
                crate::terminal::say(&format!("warning: {error:#}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{CARD_PROCESSOR, NATS, POSTGRES, TRACES};

    #[test]
    fn a_trace_page_that_dies_keeps_nobody_waiting() {
        let (traces, nats) = (Instance::first(TRACES), Instance::first(NATS));
        let board = Board::new();
        let settled = || board.subscribe().borrow().is_settled();
        board.change(|status| status.wanted = vec!["nats".to_owned(), "traces".to_owned()]);
        board.set(&nats, State::Ready, 0, None);
        board.set(&traces, State::Starting, 0, None);
        assert!(!settled());
        board.set(&traces, State::Dead, 1, None);
        assert!(settled());
        board.set(&nats, State::Dead, 1, None);
        assert!(!settled());
    }

    #[test]
    fn a_server_that_comes_back_has_the_services_asked_again() {
        let [nats, postgres, service] = [NATS, POSTGRES, CARD_PROCESSOR].map(Instance::first);
        let board = Board::new();
        for instance in [nats, postgres, service] {
            board.set(&instance, State::Ready, 0, None);
        }
        assert!(board.subscribe().borrow().is_ready("card-processor"));
        board.set(&nats, State::Ready, 1, None);
        let status = board.subscribe().borrow().clone();
        assert!(!status.is_ready("card-processor"));
        assert!(status.is_ready("postgres") && status.is_ready("nats"));
    }
}
