//! The life of a supervisor, in the terminal or in the background.

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Instance, TRACES};
use crate::launch::Launcher;
use crate::lock::Lock;
use crate::place::Place;
use crate::plan::Plan;
use crate::scale::Change;
use crate::shop::Shop;
use crate::status::Board;
use crate::tail;
use crate::terminal::{self, say};

/// Where a supervisor's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A terminal: show the logs too.
    Foreground,
    /// Its own log.
    Background,
}

/// Opens the shop and keeps it open until it is told to close. Returns false if another supervisor is
/// already at work.
pub async fn run(place: Place, wishes: &Plan, output: Output) -> Result<bool> {
    place.create()?;
    let Some(lock) = Lock::take(&place)? else { return Ok(false) };
    let mut signals = Signals::new()?;
    let board = Board::new();
    board.write(&place)?;
    tokio::spawn(board.clone().keep_written(place.clone()));

    let stop_tail = CancellationToken::new();
    let tail =
        (output == Output::Foreground).then(|| tokio::spawn(tail::follow(place.clone(), stop_tail.clone())));
    let result = keep_open(&place, wishes, &board, &mut signals).await;
    stop_tail.cancel();
    if let Some(tail) = tail {
        tail.await?;
    }
    if let Err(error) = &result {
        board.change(|status| status.failure = Some(format!("{error:#}")));
    }
    board.write(&place)?;
    drop(lock);
    result.map(|()| true)
}

async fn keep_open(place: &Place, wishes: &Plan, board: &Board, signals: &mut Signals) -> Result<()> {
    // A shop whose supervisor was killed is still open, with the wishes it had.
    if !place.plan().exists()
        && let Some(server) = wishes.held().first()
    {
        bail!("--scale {server}=0 is for an open shop: open it first, then stop its server");
    }
    let mut plan = Plan::load(place)?;
    plan.add(wishes);
    plan.check(place)?;
    if plan.has_traces()
        && let Some(missing) = Launcher::missing_traces(place)
    {
        say(&format!("NOTE: the shop has no trace page: {missing}"));
        plan.add(&without_traces());
    }
    let mut shop = Shop::prepare(place.clone(), board.clone(), &plan).await?;
    plan.save(place)?;
    let opened = tokio::select! {
        opened = shop.open() => opened.map(|()| true),
        () = signals.close() => Ok(false),
    };
    if let Ok(true) = opened {
        terminal::conclude(place)?;
        loop {
            // Once without being told: the plan may have changed while the shop was opening.
            if let Err(error) = shop.reconcile().await {
                say(&format!("cannot do what is wanted: {error:#}"));
            }
            if let Told::Close = signals.next().await {
                break;
            }
        }
    }
    say("closing the shop");
    shop.close().await;
    say("the shop is closed");
    opened.map(|_| ())
}

fn without_traces() -> Plan {
    Plan { scale: vec![Change { of: Instance::first(TRACES), count: 0 }], ..Plan::default() }
}

enum Told {
    Close,
    PlanChanged,
}

/// What a supervisor is told by signals: SIGUSR1 says that the plan has changed.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    changed: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            changed: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Close,
            _ = self.terminate.recv() => Told::Close,
            _ = self.hang_up.recv() => Told::Close,
            _ = self.changed.recv() => Told::PlanChanged,
        }
    }

    /// A plan that changes while the shop opens is read when the services start.
    async fn close(&mut self) {
        while let Told::PlanChanged = self.next().await {}
    }
}
