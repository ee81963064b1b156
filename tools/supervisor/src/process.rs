//! One operating-system process: started so that it outlives a supervisor that is killed, found again by
//! the next supervisor, and stopped gently first.
//!
//! A pid alone does not identify a process, for pids are used again; with the time of its start it does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, setpriority_pgrp};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A tenth of the processor time of a process without it (sched(7)).
const NICE: i32 = 10;
/// A log longer than this is put aside (as `.log.1`) when its process starts.
const LONG_LOG: u64 = 20 * 1024 * 1024;

/// A process that this supervisor started or found running.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    started: String,
    /// Only of a process that is our own child.
    child: Option<Child>,
}

impl Process {
    /// Starts a program in a process group of its own, so that a Ctrl-C in the terminal does not reach it,
    /// and with its output going straight to its log, so that it needs no supervisor to be read.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let output = open_log(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let pid = child.id().and_then(pid_of).context("the process ended at once")?;
        let started = start_time(pid).unwrap_or_default();
        Ok(Self { pid, started, child: Some(child) })
    }

    /// Lets the shop's other processes go first when there are not processors enough for all.
    pub fn come_last(&self) {
        let _ = setpriority_pgrp(Some(self.pid), NICE);
    }

    /// Records the process as `pids/<name>.pid`, which holds the pid alone, and its start beside it.
    pub fn record(&self, pids: &Path, name: &str) -> Result<()> {
        fs::write(pids.join(format!(".{name}.started")), &self.started)?;
        fs::write(pids.join(format!("{name}.pid")), format!("{}\n", self.pid.as_raw_pid()))?;
        Ok(())
    }

    /// Forgets what [`Process::record`] wrote.
    pub fn forget(pids: &Path, name: &str) {
        let _ = fs::remove_file(pids.join(format!("{name}.pid")));
        let _ = fs::remove_file(pids.join(format!(".{name}.started")));
    }

    /// The recorded process, if it is still that process and still running.
    pub fn find(pids: &Path, name: &str) -> Option<Self> {
        let pid: u32 = fs::read_to_string(pids.join(format!("{name}.pid"))).ok()?.trim().parse().ok()?;
        let started = fs::read_to_string(pids.join(format!(".{name}.started"))).ok()?;
        let process = Self { pid: pid_of(pid)?, started, child: None };
        process.is_running().then_some(process)
    }

    fn is_running(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }

    /// Waits until the process is gone and says how it went.
    pub async fn ended(&mut self) -> String {
        if let Some(child) = &mut self.child {
            return match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => error.to_string(),
            };
        }
        while self.is_running() {
            sleep(LOOK_AGAIN).await;
        }
        "it was not our child, so how is not known".to_owned()
    }

    /// Asks the process to stop, and kills it when it has not within `grace`. Returns false if it had to
    /// be killed. Whatever it started in its process group goes with it.
    pub async fn stop(&mut self, signal: Signal, grace: Duration) -> bool {
        let pid = self.pid;
        let _ = kill_process(pid, signal);
        let gently = timeout(grace, self.ended()).await.is_ok();
        let _ = kill_process_group(pid, Signal::KILL);
        if !gently {
            self.ended().await;
        }
        gently
    }
}

/// Waits until the process with this pid is gone.
pub async fn gone(pid: u32, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while pid_of(pid).is_some_and(|pid| start_time(pid).is_some()) {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK_AGAIN).await;
    }
    true
}

pub fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// When a living process started, in clock ticks since boot: field 22 of its stat file (see proc(5)). A
/// zombie, whose parent has not asked for it yet, counts as dead.
fn start_time(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The second field is the program's name in brackets and may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    match fields.first() {
        Some(&"Z" | &"X") | None => None,
        Some(_) => fields.get(19).map(|ticks| (*ticks).to_owned()),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LONG_LOG) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}
