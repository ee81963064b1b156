//! Says who listens on a port, as far as `/proc` tells: "python3 (pid 4711)".
//!
//! A person whose port 8080 is taken wants to know by what; the answer is only for messages.

use std::ffi::OsStr;
use std::fs;

/// The listener on `port`, or "another program" when it cannot be told.
pub fn describe(port: u16) -> String {
    inodes(port).iter().find_map(|inode| process_with(inode)).unwrap_or_else(|| "another program".to_owned())
}

/// Inodes of the listening sockets: columns 2 (address), 4 (state, 0A = listening) and 10 of the table.
fn inodes(port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .filter(|columns| columns.len() > 9 && columns[1].ends_with(&suffix) && columns[3] == "0A")
                .map(|columns| columns[9].to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn process_with(inode: &str) -> Option<String> {
    let link = format!("socket:[{inode}]");
    let is_process = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let mut entries = fs::read_dir("/proc").ok()?.flatten().filter(|entry| is_process(&entry.file_name()));
    let owner = entries.find(|process| {
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == link.as_str())
    })?;
    let name = fs::read_to_string(owner.path().join("comm")).ok()?;
    Some(format!("{} (pid {})", name.trim(), owner.file_name().display()))
}
