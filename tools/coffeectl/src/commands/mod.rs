//! One file per command.

pub mod audit;
pub mod dlq;
pub mod lag;
pub mod replay;

use anyhow::{Result, anyhow};
use events::topology::{CONSUMERS, ConsumerSpec};

/// Used by clap for every `--consumer`.
pub fn consumer(name: &str) -> Result<&'static ConsumerSpec> {
    CONSUMERS.iter().copied().find(|spec| spec.name == name).ok_or_else(|| {
        let names: Vec<&str> = CONSUMERS.iter().map(|spec| spec.name).collect();
        anyhow!("there is no consumer {name:?}; there are {}", names.join(", "))
    })
}
