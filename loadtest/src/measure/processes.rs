//! Processor time and memory of each process of the shop and of the load generator, as the kernel tells them
//! (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use crate::shop::Shop;

/// The load generator itself, which runs on the same machine.
pub const GENERATOR: &str = "load generator";
const MEGABYTE: f64 = 1_000_000.0;
/// USER_HZ, in which the kernel tells processor time: 100 wherever Rust runs on Linux (proc(5), time(7)).
const TICKS_A_SECOND: f64 = 100.0;

/// By part. Processor time in cores, memory in megabytes.
#[derive(Default)]
pub struct Costs {
    pub cores: BTreeMap<String, f64>,
    pub memory: BTreeMap<String, f64>,
}

/// Remembers the last look: processor time is the difference between two.
#[derive(Default)]
pub struct Processes {
    last: Option<(Instant, BTreeMap<u32, u64>)>,
}

impl Processes {
    pub fn look(&mut self, shop: &Shop) -> Costs {
        let mut parts = shop.processes();
        parts.insert(GENERATOR.to_owned(), vec![std::process::id()]);
        let (now, mut ticks) = (Instant::now(), BTreeMap::new());
        let mut costs = Costs::default();
        for (part, pids) in parts {
            let family: Vec<u32> = pids.into_iter().flat_map(family).collect();
            ticks.extend(family.iter().filter_map(|pid| Some((*pid, ticks_of(*pid)?))));
            if let Some((before, last)) = &self.last {
                let used = family.iter().filter_map(|pid| Some(ticks.get(pid)? - last.get(pid)?));
                let seconds = used.sum::<u64>() as f64 / TICKS_A_SECOND;
                costs.cores.insert(part.clone(), seconds / (now - *before).as_secs_f64());
            }
            costs.memory.insert(part, resident(&family));
        }
        self.last = Some((now, ticks));
        costs
    }
}

/// A process and its children: of Postgres, its backends.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// User and system time: fields 14 and 15. The second field, in brackets, may hold anything.
fn ticks_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// What a family keeps in memory. Its members share their files and Postgres' buffers, which count once.
fn resident(family: &[u32]) -> f64 {
    let (mut own, mut shared) = (0, 0);
    for pid in family {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        own += field("RssAnon").unwrap_or(0);
        shared = shared.max(field("RssFile").unwrap_or(0) + field("RssShmem").unwrap_or(0));
    }
    (own + shared) as f64 * 1_024.0 / MEGABYTE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        assert!(resident(&family(std::process::id())) > 1.0);
        assert!(ticks_of(std::process::id()).is_some());
        assert_eq!(ticks_of(0), None);
    }
}
