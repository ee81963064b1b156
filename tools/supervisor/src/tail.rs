//! Shows what the processes write, by reading their logs as they grow.
//!
//! The logs are the truth and this only a view of them: a process never waits for a slow terminal, and a
//! supervisor that takes over a running shop shows it like one it has started.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::terminal;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Read from one log before the others get their turn.
const AT_ONCE: u64 = 256 * 1024;

/// Shows every line written from now on, until `stop`; then what is left.
pub async fn follow(place: Place, stop: CancellationToken) {
    let mut logs = BTreeMap::new();
    for path in paths(&place) {
        let read = fs::metadata(&path).map_or(0, |log| log.len());
        logs.insert(path, Log { read, line: Vec::new() });
    }
    loop {
        let last = stop.is_cancelled();
        for path in paths(&place) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let log = logs.entry(path.clone()).or_default();
            for line in log.new_lines(&path).unwrap_or_default() {
                terminal::line_of(&name, &line);
            }
        }
        if last {
            return;
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// The last lines of a log, for the message that says why its process could not start.
pub fn last_lines(path: &Path, count: usize) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn paths(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.logs()).into_iter().flatten().flatten().map(|file| file.path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "log") && *path != place.supervisor_log())
        .collect()
}

#[derive(Debug, Default)]
struct Log {
    read: u64,
    /// The beginning of a line whose end is not written yet.
    line: Vec<u8>,
}

impl Log {
    fn new_lines(&mut self, path: &Path) -> io::Result<Vec<String>> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < self.read {
            *self = Self::default(); // put aside and begun anew
        }
        file.seek(SeekFrom::Start(self.read))?;
        let from = self.line.len();
        self.read += file.take(AT_ONCE).read_to_end(&mut self.line)? as u64;
        let Some(end) = self.line[from..].iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.line.split_off(from + end + 1);
        let complete = std::mem::replace(&mut self.line, rest);
        Ok(String::from_utf8_lossy(&complete).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn half_a_line_waits_for_its_other_half_and_a_new_log_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = File::create(&path).unwrap();
        let mut log = Log::default();
        write!(file, "one\ntw").unwrap();
        assert_eq!(log.new_lines(&path).unwrap(), ["one"]);
        assert!(log.new_lines(&path).unwrap().is_empty());
        write!(file, "o\nthree\n").unwrap();
        assert_eq!(log.new_lines(&path).unwrap(), ["two", "three"]);
        fs::write(&path, "new\n").unwrap();
        assert_eq!(log.new_lines(&path).unwrap(), ["new"]);
    }

    #[test]
    fn the_last_lines_of_no_log_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        assert_eq!(last_lines(&path, 3), "");
        fs::write(&path, "1\n2\n3\n4\n").unwrap();
        assert_eq!(last_lines(&path, 3), "2\n3\n4");
    }
}
