//! `supervisor up`: opens the shop, or changes the one that is open.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::lock::Lock;
use crate::place::{Place, shown};
use crate::process::pid_of;
use crate::run::{self, Output};
use crate::scale::{Change, Scale};
use crate::status::{State, Status};
use crate::tail;
use crate::terminal::{plain, say, welcome};

const LOOK_AGAIN: Duration = Duration::from_millis(30);
const CHANGED_WITHIN: Duration = Duration::from_secs(90);
const DEATHS_ALLOWED: u32 = 4;

pub async fn up(place: Place, changes: &[Change], detach: bool) -> Result<()> {
    place.create()?;
    if let Some(supervisor) = Lock::holder(&place) {
        return change(&place, supervisor, changes).await;
    }
    if detach {
        return open_in_background(&place, changes).await;
    }
    plain("Opening the shop; Ctrl-C closes it.");
    if !run::run(place.clone(), changes, Output::Foreground).await? {
        let supervisor =
            Lock::holder(&place).context("another `up` came first and has ended since; try again")?;
        return change(&place, supervisor, changes).await;
    }
    Ok(())
}

/// Starts a supervisor that outlives this command and waits until its shop is open.
async fn open_in_background(place: &Place, changes: &[Change]) -> Result<()> {
    let log = OpenOptions::new().append(true).create(true).open(place.supervisor_log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for change in changes {
        command.arg("--scale").arg(format!("{}={}", change.service.name, change.count));
    }
    let log_so_far = fs::metadata(place.supervisor_log())?.len();
    let mut child = command.spawn().context("cannot start the supervisor")?;
    let mut progress = Progress::default();
    loop {
        let ended = child.try_wait()?.is_some();
        let status = Status::read(place).filter(|status| status.supervisor == child.id());
        if let Some(status) = &status {
            progress.show(status);
        }
        match status {
            Some(status) if !ended && !status.wanted.is_empty() && status.is_settled() => break,
            Some(Status { failure: Some(why), .. }) if ended => bail!(why),
            _ if ended => return followed_by(place, changes, &child, log_so_far).await,
            _ => sleep(LOOK_AGAIN).await,
        }
    }
    show_notes(place, log_so_far);
    welcome(place)?;
    plain("  It runs in the background: ./scripts/down closes it.\n");
    Ok(())
}

/// Our supervisor ended without a failure: it was closed, or another one was there before it.
async fn followed_by(place: &Place, changes: &[Change], child: &Child, log_so_far: u64) -> Result<()> {
    match Lock::holder(place) {
        Some(other) if other != child.id() => change(place, other, changes).await,
        _ => {
            let log = fs::read(place.supervisor_log())?;
            let new =
                String::from_utf8_lossy(&log[usize::try_from(log_so_far)?.min(log.len())..]).into_owned();
            bail!(
                "the supervisor ended before the shop was open:\n{new}\nSee {}",
                shown(&place.supervisor_log())
            )
        }
    }
}

/// Tells a running supervisor what is wanted, and waits until it is so.
async fn change(place: &Place, supervisor: u32, changes: &[Change]) -> Result<()> {
    say("the shop is already open");
    if !changes.is_empty() {
        let mut scale = Scale::load(place)?;
        scale.apply(changes);
        scale.save(place)?;
        kill_process(pid_of(supervisor).context("the supervisor has no pid")?, Signal::USR1)?;
    }
    let deadline = Instant::now() + CHANGED_WITHIN;
    let mut progress = Progress::since(&Status::read(place).unwrap_or_default());
    loop {
        let status = Status::read(place).unwrap_or_default();
        progress.show(&status);
        let wanted: BTreeSet<_> = Scale::load(place)?.instances().iter().map(ToString::to_string).collect();
        let seen = wanted.iter().all(|name| status.wanted.contains(name))
            && status.wanted.iter().filter(|name| !is_server(name)).all(|name| wanted.contains(name));
        if seen && status.is_settled() {
            break;
        }
        if let Some((name, part)) =
            status.parts.iter().find(|(_, part)| part.state == State::Dead && part.deaths > DEATHS_ALLOWED)
        {
            let log = place.logs().join(format!("{name}.log"));
            bail!(
                "{name} dies again and again ({}); the rest runs on. The end of {}:\n\n{}",
                part.last_death.as_deref().unwrap_or("not known how"),
                shown(&log),
                tail::last_lines(&log, 15)
            );
        }
        if Lock::holder(place) != Some(supervisor) {
            bail!(status.failure.unwrap_or_else(|| "the shop was closed meanwhile".to_owned()));
        }
        if Instant::now() > deadline {
            bail!(
                "the shop is not as wanted after {} s; see {}",
                CHANGED_WITHIN.as_secs(),
                shown(&place.logs())
            );
        }
        sleep(LOOK_AGAIN).await;
    }
    welcome(place)
}

fn is_server(name: &str) -> bool {
    crate::catalogue::Instance::parse(name).is_some_and(|instance| instance.is_server())
}

/// What the supervisor said loudly while opening, such as another port than the usual one.
fn show_notes(place: &Place, from: u64) {
    let log = fs::read(place.supervisor_log()).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or_default().min(log.len());
    for line in String::from_utf8_lossy(&log[from..]).lines() {
        if let Some((_, note)) = line.split_once("NOTE: ") {
            say(&format!("NOTE: {note}"));
        }
    }
}

/// Says once of each part that it is ready, and of each death.
#[derive(Debug, Default)]
struct Progress {
    ready: BTreeSet<String>,
    deaths: BTreeSet<(String, u32)>,
}

impl Progress {
    /// What is ready already needs no word.
    fn since(status: &Status) -> Self {
        let ready = status.parts.keys().filter(|name| status.is_ready(name)).cloned().collect();
        Self { ready, ..Self::default() }
    }

    fn show(&mut self, status: &Status) {
        for (name, part) in &status.parts {
            if part.state == State::Ready && self.ready.insert(name.clone()) {
                say(&format!("{name} is ready"));
            }
            if part.state == State::Dead && self.deaths.insert((name.clone(), part.deaths)) {
                self.ready.remove(name);
                say(&format!(
                    "{name} died ({}), starting it again",
                    part.last_death.as_deref().unwrap_or("not known how")
                ));
            }
        }
    }
}
