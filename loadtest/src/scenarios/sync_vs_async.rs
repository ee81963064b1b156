//! `sync-vs-async`: the old shop and this one side by side. First the card processor takes longer and longer;
//! then the mail server is away. What the customer feels of it is the whole argument for events.

use std::time::Duration;

use anyhow::Result;

use crate::engine::Outcome;
use crate::report::{Curve, Plot};
use crate::run::Run;
use crate::sync_shop::SyncShop;

/// What a charge takes, in milliseconds.
const DELAYS: [u64; 6] = [0, 50, 100, 250, 500, 1_000];

/// One point of each curve.
struct Pair {
    delay: f64,
    old: Outcome,
    new: Outcome,
}

pub async fn run(run: &mut Run) -> Result<()> {
    run.progress.say("opening the old shop");
    let old = SyncShop::open(&run.shop, &run.menu).await?;
    let mut pairs = Vec::new();
    for delay in DELAYS {
        let delay = Duration::from_millis(delay);
        run.shop.delay_charges(delay).await?;
        old.delay_charges(delay).await?;
        let (old, new) = both(run, &old, &format!("charge takes {} ms", delay.as_millis())).await?;
        pairs.push(Pair { delay: delay.as_secs_f64() * 1_000.0, old, new });
    }
    old.delay_charges(Duration::ZERO).await?;
    run.shop.delay_charges(Duration::ZERO).await?;
    run.rest().await?;
    without_mail(run, &old).await?;
    for pair in pairs.iter().filter(|pair| pair.delay == 0.0 || pair.delay == 500.0) {
        run.find(&format!("old shop: p50, charge takes {} ms", pair.delay), pair.old.latency.p50, "ms");
        run.find(&format!("this shop: p50, charge takes {} ms", pair.delay), pair.new.latency.p50, "ms");
    }
    response_times(run, &pairs);
    old.close(&run.shop).await
}

async fn both(run: &mut Run, old: &SyncShop, when: &str) -> Result<(Outcome, Outcome)> {
    let (rate, length) = (run.rate(50.0), run.duration(8));
    let of_old = run.load_at(&format!("old shop, {when}"), &old.url, rate, length).await?;
    let of_new = run.load(&format!("this shop, {when}"), rate, length).await?;
    Ok((of_old, of_new))
}

async fn without_mail(run: &mut Run, old: &SyncShop) -> Result<()> {
    run.progress.say("stopping the mail server");
    run.shop.scale("mailbox", 0).await?;
    run.shop.gone("mailbox").await;
    let paid_before = old.paid_without_mail().await?;
    let (of_old, of_new) = both(run, old, "mail server away").await?;
    let paid = old.paid_without_mail().await? - paid_before;
    run.mark("the mail server is back");
    run.shop.scale("mailbox", 1).await?;
    // Its mails have waited and are sent now; the audit counts them.
    run.rest().await?;
    run.find("old shop: orders taken while the mail server is away", of_old.success() * 100.0, "%");
    run.find("this shop: orders taken while the mail server is away", of_new.success() * 100.0, "%");
    run.find("old shop: charged, though the customer saw an error", paid as f64, "orders");
    let bar = |name: &str, outcome: &Outcome| Curve {
        name: name.to_owned(),
        points: vec![(0.0, outcome.success() * 100.0)],
    };
    run.plot(Plot {
        title: "Orders taken while the mail server is away".into(),
        x: None,
        y: "%".into(),
        lines: vec![bar("old shop", &of_old), bar("this shop", &of_new)],
    });
    Ok(())
}

fn response_times(run: &mut Run, pairs: &[Pair]) {
    let curve = |name: &str, value: fn(&Pair) -> f64| Curve {
        name: name.to_owned(),
        points: pairs.iter().map(|pair| (pair.delay, value(pair))).collect(),
    };
    run.plot(Plot {
        title: "How long the customer waits as a step gets slower".into(),
        x: Some("a charge takes so many milliseconds".into()),
        y: "ms".into(),
        lines: vec![
            curve("old shop, p50", |pair| pair.old.latency.p50),
            curve("old shop, p99", |pair| pair.old.latency.p99),
            curve("this shop, p50", |pair| pair.new.latency.p50),
            curve("this shop, p99", |pair| pair.new.latency.p99),
        ],
    });
}
