//! Keeps one process alive: starts it, or takes over the one that runs; waits until it is ready, again when
//! a server was away; starts it again when it dies, as a container would be; and stops it when told.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::catalogue::{Instance, POSTGRES};
use crate::launch::Launcher;
use crate::process::Process;
use crate::readiness::Probe;
use crate::status::{Board, State};
use crate::terminal::say;

/// A service has this long to finish what it has in hand.
pub const GRACE: Duration = Duration::from_secs(15);

/// Runs until `stop`, and returns when the process is gone.
pub async fn keep(instance: Instance, launcher: &Launcher, board: &Board, stop: CancellationToken) {
    let pids = launcher.place.pids();
    let name = instance.to_string();
    let mut found = Process::find(&pids, &name);
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        board.set(&instance, State::Starting, backoff.deaths(), None);
        let begun = Instant::now();
        let how = match found.take().map_or_else(|| launcher.start(&instance), Ok) {
            Ok(mut process) => {
                if let Err(error) = process.record(&pids, &name) {
                    say(&format!("warning: cannot record the pid of {name}: {error:#}"));
                }
                let mut lived = Lived { instance, board, begun, deaths: backoff.deaths() };
                let probe = launcher.probe(&instance);
                let Some(how) = lived.watch(&mut process, &probe, &stop).await else {
                    board.set(&instance, State::Stopping, 0, None);
                    if !process.stop(stop_signal(&instance), GRACE).await {
                        say(&format!("{name} did not stop within {} s and was killed", GRACE.as_secs()));
                    }
                    break;
                };
                how
            }
            Err(error) => format!("{error:#}"),
        };
        let wait = backoff.after(begun.elapsed());
        say(&format!("{name} died ({how}), starting it again in {:.1} s", wait.as_secs_f32()));
        board.set(&instance, State::Dead, backoff.deaths(), Some(how));
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    Process::forget(&pids, &name);
    board.remove(&instance);
}

/// One life of a process.
struct Lived<'a> {
    instance: Instance,
    board: &'a Board,
    begun: Instant,
    deaths: u32,
}

impl Lived<'_> {
    /// Returns how the process died, or nothing when it is to be stopped.
    async fn watch(
        &mut self,
        process: &mut Process,
        probe: &Probe<'_>,
        stop: &CancellationToken,
    ) -> Option<String> {
        let announced = async {
            let name = self.instance.to_string();
            probe.ready().await;
            say(&format!("{name} is ready ({:.1} s)", self.begun.elapsed().as_secs_f32()));
            let mut board = self.board.subscribe();
            loop {
                self.board.set(&self.instance, State::Ready, self.deaths, None);
                // Until a server was away and is back.
                let _ = board.wait_for(|status| !status.is_ready(&name)).await;
                probe.ready().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            how = process.ended() => Some(how),
            never = announced => never,
        }
    }
}

/// What asks a process to finish: Postgres takes SIGTERM for "when all clients have gone".
pub fn stop_signal(instance: &Instance) -> Signal {
    if instance.part == POSTGRES { Signal::INT } else { Signal::TERM }
}
