//! The fingerprint of a machine: what has to be the same before two reports are compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::store;
use crate::shop::Shop;

/// Settings of Postgres that decide what a commit costs.
const SETTINGS: [&str; 10] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "wal_segment_size",
    "backend_flush_after",
    "track_commit_timestamp",
];

/// By name, in words.
pub type Machine = BTreeMap<String, String>;

pub async fn fingerprint(shop: &Shop) -> Result<Machine> {
    let mut machine = Machine::new();
    let mut say = |name: &str, value: String| machine.insert(name.to_owned(), value);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    say("processor", format!("{} × {cores}", field("/proc/cpuinfo", "model name").unwrap_or_default()));
    say("memory", format!("{:.1} GB", kilobytes("MemTotal") * 1_024.0 / 1e9));
    say("kernel", file("/proc/sys/kernel/osrelease"));
    say("load before", file("/proc/loadavg"));
    if let Some(folder) = shop.folder() {
        say("file system", file_system(folder).unwrap_or_default());
    }
    say("nats-server", shop.jetstream.client().server_info().version);
    let pool = shop.read("order-api")?;
    for setting in SETTINGS {
        say(&format!("postgres {setting}"), store::setting(&pool, setting).await?);
    }
    let build = if cfg!(debug_assertions) { "debug: figures mean little" } else { "release" };
    say("load generator", format!("{} ({build})", env!("CARGO_PKG_VERSION")));
    Ok(machine)
}

/// Kind and options of what is mounted where the shop keeps its data.
fn file_system(folder: &Path) -> Option<String> {
    let (folder, mounts) = (folder.canonicalize().ok()?, file("/proc/self/mounts"));
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let (_, kind, options) =
        mounted.filter(|(place, ..)| folder.starts_with(place)).max_by_key(|(place, ..)| place.len())?;
    Some(format!("{kind} ({options})"))
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kilobytes(name: &str) -> f64 {
    let value = field("/proc/meminfo", name).unwrap_or_default();
    value.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
