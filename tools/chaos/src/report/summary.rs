//! The faults of a run by kind: how often, how long until the shop was quiet again, and how many orders were
//! taken meanwhile.

use super::{FaultRecord, Sample};

#[derive(Debug, PartialEq)]
pub struct Kind {
    pub name: String,
    pub times: usize,
    /// Seconds from the healing until quiet; of those that were waited for.
    pub worst: Option<f64>,
    pub median: Option<f64>,
    /// Answered 201 while a fault of this kind was on.
    pub orders: u64,
}

/// Sorted by name.
pub fn by_kind(faults: &[FaultRecord], samples: &[Sample]) -> Vec<Kind> {
    let mut names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| kind(name, faults, samples)).collect()
}

fn kind(name: &str, faults: &[FaultRecord], samples: &[Sample]) -> Kind {
    let faults: Vec<&FaultRecord> = faults.iter().filter(|fault| fault.name == name).collect();
    let mut recoveries: Vec<f64> = faults.iter().filter_map(|fault| fault.quiet_after).collect();
    recoveries.sort_by(f64::total_cmp);
    let accepted = |fault: &&FaultRecord| {
        accepted_by(samples, fault.healed).saturating_sub(accepted_by(samples, fault.started))
    };
    Kind {
        name: name.to_owned(),
        times: faults.len(),
        worst: recoveries.last().copied(),
        median: recoveries.get(recoveries.len().saturating_sub(1) / 2).copied(),
        orders: faults.iter().map(accepted).sum(),
    }
}

/// Orders answered until then, between the two samples around it as if they had come evenly.
fn accepted_by(samples: &[Sample], at: f64) -> u64 {
    let next = samples.partition_point(|sample| sample.at < at);
    match (next.checked_sub(1).map(|n| &samples[n]), samples.get(next)) {
        (Some(before), Some(after)) => {
            let part = (at - before.at) / (after.at - before.at);
            before.accepted + (part * after.accepted.saturating_sub(before.accepted) as f64).round() as u64
        }
        (Some(last), None) => last.accepted,
        (None, _) => 0,
    }
}
