//! A backlog of a known size and how fast it is worked off: what `outage`, `scale-out` and `history` share.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use events::topology::CONSUMERS;

use crate::measure::lag::{CHARGES, RELAY};
use crate::run::Run;

const LOOK_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Orders a second while the backlog is made: below what the counter takes, so that none is refused.
const FILLING: f64 = 1_500.0;

const CUT_SHORT: &str = "the start of the parts was cut short";

/// How a backlog was worked off.
pub struct Drain {
    pub events: u64,
    /// From the first sign of work until the last event: without the start of the process.
    pub seconds: f64,
    /// From the order to start until the last event.
    pub with_start: f64,
}

impl Drain {
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds.max(0.001)
    }
}

/// Whose lag tells about a part: the relay's for the broker, both the consumer's and the processor's for
/// payment, that of every consumer for a service.
pub fn measures_of(part: &str) -> Result<Vec<&'static str>> {
    Ok(match part {
        "order-api" => bail!("order-api takes the orders of the backlog: it cannot be away"),
        "nats" => vec![RELAY],
        "payment" => vec!["payment", CHARGES],
        "mailbox" => vec!["email-worker"],
        service => {
            let own = CONSUMERS.iter().filter(|spec| spec.service == service).map(|spec| spec.name);
            let own: Vec<_> = own.collect();
            ensure!(!own.is_empty(), "{service} hears nothing; say one of the consumers' services, or nats");
            own
        }
    })
}

/// Stops the parts, and takes orders until `events` wait.
pub async fn fill(run: &mut Run, parts: &[&str], events: u64) -> Result<()> {
    ensure!(
        !(parts.contains(&"nats") && run.shop.is_cluster("nats")),
        "the broker is a cluster, which does not go away as a whole: open a shop without --cluster"
    );
    run.progress.say(&format!("stopping {}", parts.join(", ")));
    let none: Vec<(&str, usize)> = parts.iter().map(|part| (*part, 0)).collect();
    run.shop.scale_all(&none).await?;
    for part in parts {
        run.shop.gone(part).await;
    }
    let rate = run.rate(FILLING);
    let length = Duration::from_secs_f64(events as f64 / rate);
    let since = run.report.loads.len();
    let outcome = run.load(&format!("filling while {} is away", parts.join(", ")), rate, length).await?;
    run.forget_followed(since);
    if outcome.success() < 0.99 {
        bail!(
            "only {} of {events} orders were accepted: {:?}; fill with a lower --rate, and of nats no more than order-api's \
             MAX_BACKLOG",
            outcome.accepted,
            outcome.refused
        );
    }
    if !parts.contains(&"nats") {
        run.published().await?;
    }
    Ok(())
}

/// Starts so many instances of the parts, and waits until nothing is left for any of `measures`.
pub async fn drain(run: &mut Run, parts: &[(&str, usize)], measures: &[&str]) -> Result<Drain> {
    let before = left(run, measures).await.unwrap_or(0);
    let mut of = before;
    run.mark("working off the backlog");
    run.progress.say("working off the backlog");
    let (shop, asked) = (run.shop.clone(), Instant::now());
    let counts: Vec<(String, usize)> =
        parts.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect();
    // It returns when all are ready, which is after the first events were handled.
    let mut starting = tokio::spawn(async move {
        let counts: Vec<(&str, usize)> = counts.iter().map(|(part, count)| (part.as_str(), *count)).collect();
        shop.scale_all(&counts).await
    });
    let (mut first_work, mut is_started) = (None, false);
    loop {
        if !is_started && starting.is_finished() {
            (&mut starting).await.context(CUT_SHORT)??;
            is_started = true;
        }
        // While the broker is away, or the service is starting, there is no answer.
        match left(run, measures).await {
            Ok(0) if first_work.is_some() || is_started => break,
            Ok(now) if now < before && first_work.is_none() => {
                first_work = Some(Instant::now());
                of = now;
            }
            _ => {}
        }
        ensure!(asked.elapsed() < PATIENCE, "the backlog was not worked off within an hour");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let done = Instant::now();
    if !is_started {
        starting.await.context(CUT_SHORT)??;
    }
    // What was done before the first look at it counts neither as events nor as time.
    let (events, began) = first_work.map_or((before, asked), |at| (of, at));
    let (seconds, with_start) = ((done - began).as_secs_f64(), (done - asked).as_secs_f64());
    Ok(Drain { events, seconds, with_start })
}

/// The furthest behind of them.
async fn left(run: &Run, measures: &[&str]) -> Result<u64> {
    let mut most = 0;
    for measure in measures {
        most = most.max(run.lags.of(measure).await?);
    }
    Ok(most)
}
