//! What a run came to: what was broken, how long the shop took to recover, and everything that must not be.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::report::FaultRecord;

/// Which check found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The client still has no answer.
    Client,
    Recovery,
    DeadLetters,
    Accounting,
    Audit,
}

#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    pub check: Check,
    pub what: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub seed: u64,
    /// Accepted by the shop.
    pub orders: u64,
    pub faults: Vec<FaultRecord>,
    pub skipped: Vec<Skipped>,
    pub violations: Vec<Violation>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub fault: String,
    pub why: String,
}

impl Verdict {
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    pub fn violation(&mut self, check: Check, what: impl Into<String>) {
        self.violations.push(Violation { check, what: what.into() });
    }

    /// All violations by check; of a check with very many the first ones.
    pub fn describe_violations(&self) -> String {
        const SHOWN: usize = 20;
        let mut by_check = BTreeMap::<Check, Vec<&str>>::new();
        for violation in &self.violations {
            by_check.entry(violation.check).or_default().push(&violation.what);
        }
        let mut text = String::new();
        for (check, found) in by_check {
            text += &format!("{check}: {} violations\n", found.len());
            for what in found.iter().take(SHOWN) {
                text += &format!("  {what}\n");
            }
            if found.len() > SHOWN {
                text += &format!("  … and {} more\n", found.len() - SHOWN);
            }
        }
        text
    }

    /// What a person needs to look into it and to see it again.
    pub fn describe_failure(&self, command: &str, folder: &Path) -> String {
        let mut text = format!("\nSeed {}: what must always hold did not.\n\n", self.seed);
        text += &self.describe_violations();
        text += "\nFaults, in seconds since the run began:\n";
        for fault in &self.faults {
            let FaultRecord { name, target, started, healed, .. } = fault;
            text += &format!("  {started:7.1} – {healed:7.1}  {name} {target}\n");
        }
        text += &format!("\nAgain:            {command}\n");
        text += &format!("Logs, databases:  {}\n", folder.display());
        text
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Client => "the client's answers",
            Check::Recovery => "recovery in time",
            Check::DeadLetters => "dead letters",
            Check::Accounting => "the independent accounting",
            Check::Audit => "coffeectl audit",
        })
    }
}
