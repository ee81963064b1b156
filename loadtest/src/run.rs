//! One run of a scenario: the shop, the load generator, those who watch, and the report that grows.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::LOCATION;
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine::client::Client;
use crate::engine::orders::{self, MenuItem};
use crate::engine::timeline::Timeline;
use crate::engine::{self, Answer, Limits, Outcome, Schedule};
use crate::measure::followed::{self, Remembered};
use crate::measure::lag::{Lags, RELAY};
use crate::measure::machine;
use crate::measure::observer::Observer;
use crate::progress::Progress;
use crate::report::{Finding, Load, Mark, Plot, Report, text};
use crate::shop::{Audit, Shop, project};

/// Orders of a load whose way is looked up afterwards.
const FOLLOWED: u64 = 3_000;
/// For the shop to work off what it was given.
const REST: Duration = Duration::from_secs(30 * 60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Orders a second.
    #[arg(long, value_parser = above_zero)]
    pub rate: Option<f64>,
    /// How long the load lasts, as 90s or 10m; where there are several, each.
    #[arg(long, value_parser = some_time)]
    pub duration: Option<Duration>,
    /// Another address of order-api than the one in the shop's env file.
    #[arg(long)]
    pub url: Option<String>,
    /// Requests open at the same time, at most.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: u32,
    /// Where the report goes, instead of the project's loadtest/reports.
    #[arg(long)]
    pub reports: Option<PathBuf>,
}

/// Of the command line.
pub fn above_zero(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or("it has to be a number above 0")
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: say it as 90s or 10m"))?;
    if time.is_zero() { Err("it has to be more than nothing".to_owned()) } else { Ok(time) }
}

pub struct Run {
    pub shop: Arc<Shop>,
    pub options: Options,
    pub lags: Lags,
    pub progress: Progress,
    pub menu: Vec<MenuItem>,
    pub report: Report,
    /// The folder for it.
    pub reports: PathBuf,
    /// Before the names of loads and findings: what they belong to.
    pub prefix: String,
    client: Client,
    bodies: Arc<Vec<Bytes>>,
    timeline: Arc<Timeline>,
    observer: Arc<Observer>,
    answered: Arc<Answered>,
    /// The orders of each load that are looked up at the end, by its place in the report.
    remembered: Vec<(usize, Vec<Remembered>)>,
}

/// The ids of all orders that were answered 201, for the audit.
struct Answered {
    file: NamedTempFile,
    writer: Mutex<BufWriter<File>>,
}

/// An order as it is sent.
pub type Order = Request<Full<Bytes>>;

impl Run {
    pub async fn start(scenario: &str, question: &str, options: &Options) -> Result<Run> {
        let reports = options.reports.clone().unwrap_or_else(|| project().join("loadtest/reports"));
        writable(&reports)?;
        let shop = Arc::new(Shop::find(options.url.as_deref()).await?);
        let menu = orders::menu(&shop.http, &shop.order_api).await?;
        shop.restock().await?;
        let lags = Lags::new(&shop)?;
        let machine = machine::fingerprint(&shop).await?;
        let timeline = Arc::new(Timeline::begin());
        let observer = Arc::new(Observer::start(shop.clone(), timeline.began)?);
        let report = Report {
            scenario: scenario.to_owned(),
            question: question.to_owned(),
            command: std::env::args()
                .skip(1)
                .fold("./loadtest/run".to_owned(), |all, word| all + " " + &word),
            began_at: OffsetDateTime::now_utc().format(&Rfc3339)?,
            machine,
            ..Report::default()
        };
        Ok(Run {
            client: Client::new(&shop.order_api)?,
            bodies: Arc::new(orders::bodies(&menu)),
            progress: Progress::start(timeline.clone(), &observer),
            answered: Arc::new(Answered::new()?),
            options: options.clone(),
            remembered: Vec::new(),
            prefix: String::new(),
            shop,
            lags,
            menu,
            report,
            reports,
            timeline,
            observer,
        })
    }

    pub fn rate(&self, default: f64) -> f64 {
        self.options.rate.unwrap_or(default)
    }

    pub fn duration(&self, default: u64) -> Duration {
        self.options.duration.unwrap_or(Duration::from_secs(default))
    }

    /// Sends new orders at a constant rate, and returns when the last is answered.
    pub async fn load(&mut self, name: &str, rate: f64, length: Duration) -> Result<Outcome> {
        let (client, bodies) = (self.client.clone(), self.bodies.clone());
        let order = move |n: u64| (n, client.post("/orders", bodies[n as usize % bodies.len()].clone()));
        self.load_of(name, rate, length, order).await
    }

    /// As above, with requests of one's own, each with the number of its order: all requests of an order are followed, or none.
    pub async fn load_of(
        &mut self,
        name: &str,
        rate: f64,
        length: Duration,
        request: impl Fn(u64) -> (u64, Order) + Send + 'static,
    ) -> Result<Outcome> {
        self.mark(name);
        self.progress.load(name, length);
        let schedule = Schedule { rate, length };
        ensure!(
            schedule.count() > 0,
            "at {rate} a second nothing is due within {length:?}: raise --rate or --duration"
        );
        let remembered = Arc::<Mutex<Vec<Remembered>>>::default();
        let every = (schedule.count() / FOLLOWED).max(1);
        let (client, answered, kept) = (self.client.clone(), self.answered.clone(), remembered.clone());
        let send = move |n: u64, due: Instant| {
            let (order, request) = request(n);
            let (client, answered) = (client.clone(), answered.clone());
            let kept = order.is_multiple_of(every).then(|| kept.clone());
            async move { place(&client, &answered, kept.as_deref(), request, due).await }
        };
        let outcome = engine::run(schedule, self.limits(), self.timeline.clone(), send).await?;
        let remembered = std::mem::take(&mut *remembered.lock().unwrap_or_else(PoisonError::into_inner));
        self.remembered.push((self.report.loads.len(), remembered));
        let name = format!("{}{name}", self.prefix);
        self.progress.note(&text::line(&name, &outcome));
        self.report.loads.push(Load { name, outcome: outcome.clone(), followed: None });
        Ok(outcome)
    }

    /// The same orders to another shop, which nobody audits.
    pub async fn load_at(&mut self, name: &str, url: &str, rate: f64, length: Duration) -> Result<Outcome> {
        self.mark(name);
        self.progress.load(name, length);
        let (client, bodies) = (Client::new(url)?, self.bodies.clone());
        let send = move |n: u64, _| {
            let (client, body) = (client.clone(), bodies[n as usize % bodies.len()].clone());
            async move {
                match client.send(client.post("/orders", body)).await {
                    Ok(received) if received.status.as_u16() == 201 => Answer::Accepted,
                    Ok(received) => Answer::Refused(received.status.as_u16()),
                    Err(why) => Answer::Failed(why),
                }
            }
        };
        let (schedule, limits) = (Schedule { rate, length }, self.limits());
        let outcome = engine::run(schedule, limits, self.timeline.clone(), send).await?;
        let name = format!("{}{name}", self.prefix);
        self.progress.note(&text::line(&name, &outcome));
        self.report.loads.push(Load { name, outcome: outcome.clone(), followed: None });
        Ok(outcome)
    }

    fn limits(&self) -> Limits {
        Limits { in_flight: self.options.in_flight as usize, ..Limits::default() }
    }

    /// A request as orders are sent, for loads with requests of their own.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn bodies(&self) -> Arc<Vec<Bytes>> {
        self.bodies.clone()
    }

    /// Waits until everybody has done everything.
    pub async fn rest(&self) -> Result<()> {
        self.progress.say("the shop works off what is left");
        self.lags.rest(REST).await
    }

    /// Waits until everybody has done everything but those that `measures` tell of.
    pub async fn others_rest(&self, measures: &[&str]) -> Result<()> {
        self.progress.say("the others work off what is left");
        self.lags.quiet(measures, REST).await
    }

    /// Waits until the relay has published everything.
    pub async fn published(&self) -> Result<()> {
        self.progress.say("the relay publishes what is left");
        let deadline = Instant::now() + REST;
        while self.lags.of(RELAY).await? > 0 {
            ensure!(Instant::now() < deadline, "the relay did not publish everything in half an hour");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    pub async fn orders_stored(&self) -> Result<i64> {
        self.lags.orders_stored().await
    }

    /// Megabytes by part, from the end of the first minute until now.
    pub fn memory_growth(&self) -> Vec<(String, f64)> {
        let samples = self.observer.samples();
        let first = samples.iter().find(|sample| sample.at >= 60.0).or(samples.first());
        let (Some(first), Some(last)) = (first, samples.last()) else { return Vec::new() };
        let grown = |(part, now): (&String, &f64)| Some((part.clone(), now - first.memory.get(part)?));
        last.memory.iter().filter_map(grown).collect()
    }

    /// The loads since that one are not looked up at the end: their orders had to wait for somebody who was stopped.
    pub fn forget_followed(&mut self, since: usize) {
        self.remembered.retain(|(load, _)| *load < since);
    }

    pub fn mark(&mut self, name: &str) {
        let at = self.timeline.began.elapsed().as_secs_f64();
        self.report.marks.push(Mark { at, name: format!("{}{name}", self.prefix) });
    }

    pub fn find(&mut self, name: &str, value: f64, unit: &str) {
        let name = format!("{}{name}", self.prefix);
        self.report.findings.push(Finding { name, value, unit: unit.to_owned() });
    }

    pub fn plot(&mut self, mut plot: Plot) {
        plot.title.insert_str(0, &self.prefix);
        self.report.plots.push(plot);
    }

    /// Waits for the shop to rest, looks up what was followed, and audits. What fails is said in the report: what was
    /// measured before it is not lost.
    pub async fn finish(mut self) -> Report {
        let rested = self.rest().await;
        if let Err(error) = self.look_up().await {
            self.report.notes.push(format!("When orders were settled is not known: {error:#}."));
        }
        self.report.seconds = self.timeline.began.elapsed().as_secs_f64();
        self.report.timeline = self.timeline.seconds();
        self.report.samples = self.observer.samples();
        self.report.audit = match rested {
            Ok(()) => self.audit().await,
            Err(error) => Err(error),
        }
        .unwrap_or_else(|error| Audit::not_made(&error));
        self.report
    }

    async fn look_up(&mut self) -> Result<()> {
        self.progress.say("looking up when orders were settled");
        for (load, remembered) in std::mem::take(&mut self.remembered) {
            if !remembered.is_empty() {
                self.report.loads[load].followed = Some(followed::follow(&self.shop, &remembered).await?);
            }
        }
        Ok(())
    }

    async fn audit(&self) -> Result<Audit> {
        self.progress.say("auditing the shop");
        self.shop.audit(self.answered.finished()?, REST).await
    }
}

/// Known before anything is measured: an hour's figures would be lost for want of a place.
fn writable(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop).with_context(|| format!("no report can be written to {}", folder.display()))
}

/// One order.
async fn place(
    client: &Client,
    answered: &Answered,
    remembered: Option<&Mutex<Vec<Remembered>>>,
    request: Order,
    due: Instant,
) -> Answer {
    match client.send(request).await {
        Ok(received) if received.status.as_u16() == 201 => {
            let location = received.head.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let Some(order_id) = location.and_then(|location| location.strip_prefix("/orders/")) else {
                return Answer::Failed("a 201 without the order's Location");
            };
            answered.note(order_id);
            if let Some(remembered) = remembered {
                let now = (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000) as i64;
                let due = now - due.elapsed().as_micros() as i64;
                let order = Remembered { order_id: order_id.to_owned(), due };
                remembered.lock().unwrap_or_else(PoisonError::into_inner).push(order);
            }
            Answer::Accepted
        }
        Ok(received) => Answer::Refused(received.status.as_u16()),
        Err(why) => Answer::Failed(why),
    }
}

impl Answered {
    fn new() -> Result<Answered> {
        let file = NamedTempFile::new().context("cannot make a file for the ids of the orders")?;
        let writer = Mutex::new(BufWriter::new(file.reopen()?));
        Ok(Answered { file, writer })
    }

    /// What cannot be written is missing from the audit, and `finished` says so.
    fn note(&self, order_id: &str) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(order_id.as_bytes());
        let _ = writer.write_all(b"\n");
    }

    fn finished(&self) -> Result<&Path> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.flush().context("the ids of the orders could not be written")?;
        Ok(self.file.path())
    }
}
