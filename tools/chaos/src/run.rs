//! One run: opens a shop, lets orders come, breaks and heals by the schedule, and then looks at everything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;

use crate::accounting::{self, Account, Place};
use crate::audit::audit;
use crate::faults::{Effect, Fault};
use crate::load::Load;
use crate::notes::{self, Note};
use crate::progress::Progress;
use crate::recovery::{Recovered, Recovery};
use crate::report::{self, FaultRecord, Sampler};
use crate::schedule::{self, Draw, Round};
use crate::shop::Shop;
use crate::site::Site;
use crate::verdict::{Check, Skipped, Verdict};

/// Before the first fault and after each recovery.
const PEACE: Duration = Duration::from_secs(2);
/// A recovery that is late is waited for this much longer, to say how late it was.
const OVERTIME: Duration = Duration::from_secs(60);
/// For the client's open questions, and for the last recovery.
const AT_THE_END: Duration = Duration::from_secs(60);

/// What to do in a run.
#[derive(Clone, Debug)]
pub struct Order {
    pub seed: u64,
    pub rounds: Vec<Round>,
    /// Orders a second.
    pub rate: f64,
    /// By which a recovery may be longer than its fault allows.
    pub patience: f64,
    pub is_cluster: bool,
    /// Further arguments of `up`.
    pub settings: Vec<String>,
    /// A violation is what is looked for: the run ends with the first, and nothing is kept of it.
    pub until_violated: bool,
    /// Where the page with the timeline goes.
    pub report: Option<PathBuf>,
    /// What a person types to see it again.
    pub command: String,
}

/// Fails only if the run could not be made; whatever the shop does wrong is in the verdict.
pub async fn run(order: &Order) -> Result<Verdict> {
    let mut progress = Progress::new();
    progress.now("opening the shop");
    let shop = Shop::new(order.seed)?;
    let folder = shop.folder().to_owned();
    let look_into = || format!("the run broke off; its logs are in {}", folder.display());
    let mut site = Site::open(shop, &order.settings, order.is_cluster).await.with_context(look_into)?;
    let verdict = in_shop(order, &site, &mut progress).await.with_context(look_into)?;
    if verdict.holds() || order.until_violated {
        progress.now("closing the shop");
        site.shop.forget();
    }
    if !verdict.holds() && !order.until_violated {
        eprintln!("{}", verdict.describe_failure(&order.command, &folder));
    }
    Ok(verdict)
}

async fn in_shop(order: &Order, site: &Site, progress: &mut Progress) -> Result<Verdict> {
    let load = Load::start(site.shop.url_of("order-api")?.as_str(), order.rate, order.seed).await?;
    let (book, began) = (load.book(), load.began());
    let (nats, postgres) = (site.address("OPERATOR_NATS_URL")?, site.address("OPERATOR_DATABASE_URL")?);
    let sampler = Sampler::start(began, &nats, &postgres, move || book.progress().ok).await?;
    progress.watch(load.book());
    let verdict = Verdict { seed: order.seed, ..Verdict::default() };
    let recovery = Recovery::starting_now();
    let mut run = Run { site, began, patience: order.patience, recovery, verdict, progress };
    run.break_and_heal(order).await?;
    let book = load.book();
    let (notes, account) = run.close(load).await?;
    let Run { verdict, .. } = run;
    notes::write(&site.shop.folder().join("notes.jsonl"), &notes)?;
    let others: Vec<String> = verdict
        .violations
        .iter()
        .filter(|it| it.check != Check::Accounting)
        .map(|it| it.what.clone())
        .collect();
    let report = report::Run {
        seed: order.seed,
        command: &order.command,
        seconds: began.elapsed().as_secs_f64(),
        progress: book.progress(),
        account: &account,
        audit: &others,
        faults: &verdict.faults,
        samples: &sampler.samples(),
    };
    write_report(&report, order.report.as_deref().unwrap_or(&site.shop.folder().join("timeline.html")))?;
    progress.end();
    println!("{}", report::table::render(&report));
    Ok(verdict)
}

fn write_report(report: &report::Run<'_>, path: &Path) -> Result<()> {
    let page = report::timeline::render(report)?;
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

struct Run<'a> {
    site: &'a Site,
    /// What all seconds are counted from.
    began: Instant,
    patience: f64,
    recovery: Recovery,
    verdict: Verdict,
    progress: &'a Progress,
}

impl Run<'_> {
    async fn break_and_heal(&mut self, order: &Order) -> Result<()> {
        tokio::time::sleep(PEACE).await;
        for (number, round) in order.rounds.iter().enumerate() {
            let what = format!("{}/{} {}", number + 1, order.rounds.len(), schedule::describe(round));
            self.progress.now(&what);
            let records = try_join_all(round.iter().map(|draw| self.apply(draw))).await?;
            let applied = self.note_skipped(round, records);
            if !applied.is_empty() {
                self.recover(round, applied, &what).await;
            }
            if order.until_violated && !self.verdict.holds() {
                break;
            }
            tokio::time::sleep(PEACE).await;
        }
        Ok(())
    }

    /// Breaks, waits, heals.
    async fn apply(&self, draw: &Draw) -> Result<(Effect, FaultRecord)> {
        tokio::time::sleep(draw.starts_after).await;
        let started = self.began.elapsed().as_secs_f64();
        let effect = (draw.fault.act)(self.site, draw).await.with_context(|| format!("{draw}"))?;
        let healed = self.began.elapsed().as_secs_f64();
        let (name, target) = (draw.fault.name.to_owned(), draw.target.to_owned());
        Ok((effect, FaultRecord { name, target, started, healed, quiet_after: None }))
    }

    fn note_skipped(&mut self, round: &Round, records: Vec<(Effect, FaultRecord)>) -> Vec<FaultRecord> {
        let mut applied = Vec::new();
        for ((effect, record), draw) in records.into_iter().zip(round) {
            match effect {
                Effect::Applied => applied.push(record),
                Effect::Skipped(why) => {
                    self.progress.say(&format!("skipped: {draw}: {why}"));
                    self.verdict.skipped.push(Skipped { fault: draw.fault.name.to_owned(), why });
                }
            }
        }
        applied
    }

    /// Waits until all of the round is over, and judges how long that took.
    async fn recover(&mut self, round: &Round, records: Vec<FaultRecord>, what: &str) {
        let limit = limit(round.iter().map(|draw| &draw.fault)).mul_f64(self.patience);
        let healed = records.iter().map(|record| record.healed).fold(0.0, f64::max);
        let healed = self.began + Duration::from_secs_f64(healed);
        self.progress.now(&format!("{what}: recovering"));
        let Recovered { took, last, left } = self.recovery.since(healed, self.site, limit + OVERTIME).await;
        let seconds = took.as_secs_f64();
        let (result, is_in_time) = match left.as_slice() {
            [] if took <= limit => (format!("recovered in {seconds:.1} s"), true),
            [] => (format!("recovered in {seconds:.1} s, at most {} s allowed", limit.as_secs()), false),
            left => (format!("not recovered in {seconds:.1} s: {}", left.join("; ")), false),
        };
        let last = last.map(|last| format!(" (last: {last})")).unwrap_or_default();
        self.progress.say(&format!("{what}: {result}{last}"));
        if !is_in_time {
            self.verdict.violation(Check::Recovery, format!("{what}: {result}"));
        }
        let quiet_after = left.is_empty().then_some(seconds);
        self.verdict.faults.extend(records.into_iter().map(|record| FaultRecord { quiet_after, ..record }));
    }

    /// Ends the load and makes all checks.
    async fn close(&mut self, load: Load) -> Result<(Vec<Note>, Account)> {
        let site = self.site;
        self.progress.now("the last customers get their answers");
        let notes = load.finish(AT_THE_END).await;
        let unknown = notes.iter().filter(|note| note.is_unknown()).count();
        if unknown > 0 {
            let text =
                format!("{unknown} orders were not answered clearly within {} s", AT_THE_END.as_secs());
            self.verdict.violation(Check::Client, text);
        }
        self.verdict.orders = notes.iter().filter(|note| note.answer().is_some()).count() as u64;
        self.progress.now("waiting until all is done");
        for left in self.recovery.since(Instant::now(), site, AT_THE_END).await.left {
            self.verdict.violation(Check::Recovery, format!("at the end: {left}"));
        }
        for letter in site.letters.discard(&site.shop).await? {
            self.verdict.violation(Check::DeadLetters, letter);
        }
        self.progress.now("coffeectl audit");
        for found in audit(site, &notes).await? {
            self.verdict.violation(Check::Audit, found);
        }
        self.progress.now("the independent accounting");
        let place = Place {
            database_url: site.address("OPERATOR_DATABASE_URL")?,
            mail_dir: site.address("MAIL_DIR")?.into(),
        };
        let account = accounting::check(&place, &notes, &HashSet::new()).await?;
        for offence in &account.offences {
            self.verdict.violation(Check::Accounting, offence.to_string());
        }
        Ok((notes, account))
    }
}

/// Two troubles at once may take the time of both.
fn limit<'a>(faults: impl Iterator<Item = &'a Fault>) -> Duration {
    faults.map(|fault| fault.recovers_within).sum()
}
