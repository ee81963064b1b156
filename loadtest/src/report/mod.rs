//! What a run leaves behind: one JSON file for machines, one page for people, and the same in short for the
//! terminal. Two of the JSON files can be laid side by side.

mod charts;
pub mod compare;
mod page;
pub mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::engine::Outcome;
use crate::engine::timeline::Second;
use crate::measure::followed::Followed;
use crate::measure::machine::Machine;
use crate::measure::observer::Sample;
use crate::shop::Audit;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    pub scenario: String,
    /// What it was to find out.
    pub question: String,
    pub command: String,
    /// RFC 3339.
    pub began_at: String,
    pub seconds: f64,
    pub machine: Machine,
    /// The answer, in some numbers.
    pub findings: Vec<Finding>,
    pub loads: Vec<Load>,
    /// What belongs to the scenario alone.
    pub plots: Vec<Plot>,
    pub marks: Vec<Mark>,
    pub timeline: Vec<Second>,
    pub samples: Vec<Sample>,
    pub notes: Vec<String>,
    /// Why the run ended early, if it did.
    pub failure: Option<String>,
    pub audit: Audit,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub name: String,
    pub value: f64,
    pub unit: String,
}

/// One stretch of load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    pub name: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Missing where no order could be settled, for consumers were stopped.
    pub followed: Option<Followed>,
}

/// A moment in which something was changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds since the run began.
    pub at: f64,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    pub title: String,
    /// What is along the bottom. Without it each line is one point, and drawn as a bar.
    pub x: Option<String>,
    pub y: String,
    pub lines: Vec<Curve>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Report {
    pub fn read(path: &Path) -> Result<Report> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let report: Report =
            serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?;
        ensure!(!report.scenario.is_empty(), "{} is no report: it names no scenario", path.display());
        Ok(report)
    }

    fn is_good(&self) -> bool {
        self.failure.is_none() && self.audit.holds
    }

    /// In a few words.
    fn verdict(&self) -> String {
        let audit = match (self.audit.holds, self.audit.violations.len()) {
            (true, _) => "audit clean".to_owned(),
            (false, violations) => format!("audit: {violations} violations"),
        };
        if self.failure.is_some() { format!("failed, {audit}") } else { audit }
    }

    /// Returns the page; the JSON is beside it.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let time: String = self.began_at.chars().filter(char::is_ascii_digit).take(14).collect();
        let name = format!("{}-{time}", self.scenario);
        let page = folder.join(format!("{name}.html"));
        write(&folder.join(format!("{name}.json")), &serde_json::to_string(self)?)?;
        write(&page, &page::render(self)?)?;
        Ok(page)
    }
}

/// Makes a picture of each plot that belongs to the report's scenario alone, and returns the files.
pub fn pictures(report: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let report = Report::read(report)?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let picture = |(n, plot): (usize, &Plot)| {
        let file = folder.join(format!("{}-{}.svg", report.scenario, n + 1));
        write(&file, &charts::picture(plot)?)?;
        Ok(file)
    };
    report.plots.iter().enumerate().map(picture).collect()
}

pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Three digits that matter, and no more decimals than that takes.
pub fn number(value: f64) -> String {
    let whole = |value: f64| {
        let digits = format!("{value:.0}");
        let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
        groups.collect::<Vec<_>>().join(",").replace("-,", "-")
    };
    match value.abs() {
        size if size >= 99.95 => whole(value),
        size if size >= 9.995 => format!("{value:.1}"),
        _ if value == 0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests;
