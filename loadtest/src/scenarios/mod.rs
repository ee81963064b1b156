//! The scenarios, one file each: what is done to the shop, and which numbers answer the question.

mod backlog;
mod history;
mod knee;
mod limits;
mod outage;
mod plain;
mod ramp;
mod retry_storm;
mod scale_out;
mod spike;
mod sync_vs_async;

use anyhow::Result;
use clap::Subcommand;

use crate::run::{Options, Run};

#[derive(Subcommand)]
pub enum Scenario {
    /// Is everything there? A few orders for a few seconds.
    Smoke(Options),
    /// How does the shop do under a constant load?
    Steady(Options),
    /// How many orders can the shop take, and what gives way first?
    Ramp(ramp::Arguments),
    /// What does a sudden rush do, and how long does it take to be over?
    Spike(spike::Arguments),
    /// Does anything grow that should not, in an hour?
    Soak(Options),
    /// A part is away for a while: how fast is the backlog worked off?
    Outage(outage::Arguments),
    /// Every customer sends the order again and again: is each made once, and what does it cost?
    RetryStorm(retry_storm::Arguments),
    /// Do more instances of the consumers do more?
    ScaleOut(scale_out::Arguments),
    /// Do the figures sink when a million orders are stored already?
    History(history::Arguments),
    /// What can this machine do at all, without the shop?
    Limits(Options),
    /// Why all this? The same five steps inside the request, as the old shop did it, beside this one.
    SyncVsAsync(Options),
}

impl Scenario {
    pub fn name(&self) -> &'static str {
        match self {
            Scenario::Smoke(_) => "smoke",
            Scenario::Steady(_) => "steady",
            Scenario::Ramp(_) => "ramp",
            Scenario::Spike(_) => "spike",
            Scenario::Soak(_) => "soak",
            Scenario::Outage(_) => "outage",
            Scenario::RetryStorm(_) => "retry-storm",
            Scenario::ScaleOut(_) => "scale-out",
            Scenario::History(_) => "history",
            Scenario::Limits(_) => "limits",
            Scenario::SyncVsAsync(_) => "sync-vs-async",
        }
    }

    pub fn question(&self) -> &'static str {
        match self {
            Scenario::Smoke(_) => "Is everything there?",
            Scenario::Steady(_) => "How does the shop do under a constant load?",
            Scenario::Ramp(_) => "How many orders can the shop take, and what gives way first?",
            Scenario::Spike(_) => "What does a sudden rush do, and how long does it take to be over?",
            Scenario::Soak(_) => "Does anything grow that should not?",
            Scenario::Outage(_) => "How fast is the backlog of an outage worked off?",
            Scenario::RetryStorm(_) => {
                "Is an order that is sent again and again made once, and what does it cost?"
            }
            Scenario::ScaleOut(_) => "Do more instances of the consumers do more?",
            Scenario::History(_) => "Do the figures sink when many orders are stored already?",
            Scenario::Limits(_) => "What can this machine do at all, without the shop?",
            Scenario::SyncVsAsync(_) => {
                "What does a customer feel when the five steps are done inside the request?"
            }
        }
    }

    pub fn options(&self) -> &Options {
        match self {
            Scenario::Smoke(options)
            | Scenario::Steady(options)
            | Scenario::Soak(options)
            | Scenario::Limits(options)
            | Scenario::SyncVsAsync(options) => options,
            Scenario::Ramp(arguments) => &arguments.options,
            Scenario::Spike(arguments) => &arguments.options,
            Scenario::Outage(arguments) => &arguments.options,
            Scenario::RetryStorm(arguments) => &arguments.options,
            Scenario::ScaleOut(arguments) => &arguments.options,
            Scenario::History(arguments) => &arguments.options,
        }
    }

    pub async fn run(&self, run: &mut Run) -> Result<()> {
        match self {
            Scenario::Smoke(_) => plain::smoke(run).await,
            Scenario::Steady(_) => plain::steady(run).await,
            Scenario::Soak(_) => plain::soak(run).await,
            Scenario::Ramp(arguments) => ramp::run(run, arguments).await,
            Scenario::Spike(arguments) => spike::run(run, arguments).await,
            Scenario::Outage(arguments) => outage::run(run, arguments).await,
            Scenario::RetryStorm(arguments) => retry_storm::run(run, arguments).await,
            Scenario::ScaleOut(arguments) => scale_out::run(run, arguments).await,
            Scenario::History(arguments) => history::run(run, arguments).await,
            Scenario::Limits(_) => limits::run(run).await,
            Scenario::SyncVsAsync(_) => sync_vs_async::run(run).await,
        }
    }
}
