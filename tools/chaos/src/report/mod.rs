//! What a run leaves behind: samples of the shop while it ran, a table for the terminal, and a page with the
//! timeline of orders, lags and faults.

pub mod sampler;
mod summary;
pub mod table;
pub mod timeline;

use crate::accounting::Account;
use crate::notes::Progress;

pub use self::sampler::{Sample, Sampler};

/// One fault as it was applied. Times are seconds since the run began.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FaultRecord {
    /// The kind: records of one name are one row of the summary.
    pub name: String,
    pub target: String,
    pub started: f64,
    pub healed: f64,
    /// Seconds from healed until the shop was quiet again; unknown if that was not waited for.
    pub quiet_after: Option<f64>,
}

/// Everything that is reported about a run.
pub struct Run<'a> {
    pub seed: u64,
    /// The command that does the same again.
    pub command: &'a str,
    pub seconds: f64,
    pub progress: Progress,
    pub account: &'a Account,
    /// What coffeectl's audit named, a violation each, and whatever else must fail the run.
    pub audit: &'a [String],
    pub faults: &'a [FaultRecord],
    pub samples: &'a [Sample],
}

impl Run<'_> {
    pub fn violations(&self) -> usize {
        self.account.offences.len() + self.audit.len()
    }

    /// The run in some short lines, each a name and a value.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let (counts, progress) = (&self.account.counts, &self.progress);
        let cancelled: u64 = counts.cancelled.values().sum();
        vec![
            ("seed", self.seed.to_string()),
            ("again", self.command.to_owned()),
            ("ran for", format!("{:.0} s, {} faults", self.seconds, self.faults.len())),
            (
                "orders",
                format!(
                    "{} answered 201, {} failed, {} unknown ({} of them stored); {} requests, {} held back",
                    progress.ok,
                    progress.failed,
                    progress.unknown,
                    counts.unknown_stored,
                    progress.requests,
                    progress.held_back
                ),
            ),
            ("accounted for", format!("{} orders, {cancelled} of them cancelled", counts.orders)),
            ("mails", format!("{}, and {} extra copies", counts.mails, counts.extra_mail_copies)),
            (
                "violations",
                format!(
                    "{} by the accounting, {} by the audit",
                    self.account.offences.len(),
                    self.audit.len()
                ),
            ),
        ]
    }
}

#[cfg(test)]
mod tests;
