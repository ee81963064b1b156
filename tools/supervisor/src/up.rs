//! `supervisor up`: opens the shop, or changes the one that is open.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::time::{self, Duration};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};
use tokio::time::sleep;

use crate::catalogue::Instance;
use crate::lock::Lock;
use crate::place::{Place, shown};
use crate::plan::Plan;
use crate::process::pid_of;
use crate::run::{self, Output};
use crate::status::{PartStatus, State, Status};
use crate::tail;
use crate::terminal::{conclude, plain, say};

const LOOK_AGAIN: Duration = Duration::from_millis(30);
const CHANGED_WITHIN: Duration = Duration::from_secs(90);
const DEATHS_ALLOWED: u32 = 4;

pub async fn up(place: Place, wishes: &Plan, detach: bool) -> Result<()> {
    place.create()?;
    if let Some(supervisor) = Lock::holder(&place) {
        return change(&place, supervisor, wishes).await;
    }
    if detach {
        return open_in_background(&place, wishes).await;
    }
    plain("Opening the shop; Ctrl-C closes it.");
    if !run::run(place.clone(), wishes, Output::Foreground).await? {
        let supervisor =
            Lock::holder(&place).context("another `up` came first and has ended since; try again")?;
        return change(&place, supervisor, wishes).await;
    }
    Ok(())
}

/// Starts a supervisor that outlives this command and waits until its shop is open.
async fn open_in_background(place: &Place, wishes: &Plan) -> Result<()> {
    let log = OpenOptions::new().append(true).create(true).open(place.supervisor_log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").args(wishes.arguments());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
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
            Some(status) if !ended && is_as_wanted(&status, &Plan::load(place)?) => break,
            Some(Status { failure: Some(why), .. }) if ended => bail!(why),
            _ if ended => return followed_by(place, wishes, &child, log_so_far).await,
            _ => sleep(LOOK_AGAIN).await,
        }
    }
    show_notes(place, log_so_far);
    conclude(place)?;
    plain("  It runs in the background: ./scripts/down closes it.\n");
    Ok(())
}

/// Our supervisor ended without a failure: it was closed, or another one was there before it.
async fn followed_by(place: &Place, wishes: &Plan, child: &Child, log_so_far: u64) -> Result<()> {
    match Lock::holder(place) {
        Some(other) if other != child.id() => change(place, other, wishes).await,
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
async fn change(place: &Place, supervisor: u32, wishes: &Plan) -> Result<()> {
    say("the shop is already open");
    if !wishes.is_empty() {
        Plan::change(place, wishes)?;
        kill_process(pid_of(supervisor).context("the supervisor has no pid")?, Signal::USR1)?;
    }
    let deadline = time::Instant::now() + CHANGED_WITHIN;
    let mut progress = Progress::since(&Status::read(place).unwrap_or_default());
    loop {
        let status = Status::read(place).unwrap_or_default();
        let plan = Plan::load(place)?;
        progress.show(&status);
        if Lock::holder(place) != Some(supervisor) {
            bail!(status.failure.unwrap_or_else(|| "the shop was closed meanwhile".to_owned()));
        }
        if is_as_wanted(&status, &plan) {
            break; // by a supervisor that lives: a status says nothing without one
        }
        check_deaths(place, &status, &plan)?;
        if time::Instant::now() > deadline {
            bail!(
                "the shop is not as wanted after {} s; see {}",
                CHANGED_WITHIN.as_secs(),
                shown(&place.logs())
            );
        }
        sleep(LOOK_AGAIN).await;
    }
    conclude(place)
}

/// Whether all that should run is ready and nothing else runs. While a server is held stopped that is asked
/// of the other servers only: a service may wait for it as long as somebody likes.
fn is_as_wanted(status: &Status, plan: &Plan) -> bool {
    let wanted = plan.wanted();
    let names: BTreeSet<_> = wanted.iter().map(ToString::to_string).collect();
    if names != status.wanted.iter().cloned().collect() {
        return false;
    }
    let held = plan.held();
    if held.is_empty() {
        return status.is_settled();
    }
    held.iter().all(|server| !status.parts.contains_key(&server.to_string()))
        && plan.able_servers().iter().all(|server| status.is_ready(&server.to_string()))
}

/// Fails if a part that is wanted dies again and again, unless it may do so for want of a held server.
fn check_deaths(place: &Place, status: &Status, plan: &Plan) -> Result<()> {
    let mut wanted = plan.wanted();
    wanted.retain(|part| !part.is_optional() && (part.is_server() || plan.held().is_empty()));
    let counts = |name: &str| Instance::parse(name).is_some_and(|part| wanted.contains(&part));
    let hopeless = |part: &PartStatus| part.state == State::Dead && part.deaths > DEATHS_ALLOWED;
    match status.parts.iter().find(|(name, part)| hopeless(part) && counts(name)) {
        None => Ok(()),
        Some((name, part)) => {
            let log = place.logs().join(format!("{name}.log"));
            bail!(
                "{name} dies again and again ({}); the rest runs on. The end of {}:\n\n{}",
                part.last_death.as_deref().unwrap_or("not known how"),
                shown(&log),
                tail::last_lines(&log, 15)
            )
        }
    }
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
