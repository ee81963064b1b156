//! Keeps each mail as a file of a Maildir (<https://cr.yp.to/proto/maildir.html>): written in `tmp`, moved to `new`, so
//! that whoever looks into `new` finds whole mails only.
//!
//! Nothing is flushed to the disk. This mailbox stands in for a server outside the shop, and must not take disk time
//! from the databases that do have to flush.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Maildir {
    tmp: PathBuf,
    new: PathBuf,
    mails: AtomicU64,
}

impl Maildir {
    /// Makes the folders that are missing, and fails if no mail could be kept in them.
    pub fn open(folder: &Path) -> io::Result<Self> {
        for part in ["tmp", "new", "cur"] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
        }
        let maildir = Self { tmp: folder.join("tmp"), new: folder.join("new"), mails: AtomicU64::new(0) };
        let tried = maildir.write(&maildir.name(), b"")?;
        fs::remove_file(tried)?;
        Ok(maildir)
    }

    pub fn keep(&self, mail: &[u8]) -> io::Result<()> {
        let name = self.name();
        let written = self.write(&name, mail)?;
        fs::rename(&written, self.new.join(name)).inspect_err(|_| forget(&written))
    }

    fn write(&self, name: &str, mail: &[u8]) -> io::Result<PathBuf> {
        let path = self.tmp.join(name);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(mail).inspect_err(|_| forget(&path))?;
        Ok(path)
    }

    /// No other mail has it, of this process or of one before.
    fn name(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = self.mails.fetch_add(1, Ordering::Relaxed);
        format!("{}.M{:06}P{}Q{number}.mailbox", now.as_secs(), now.subsec_micros(), process::id())
    }
}

/// Of a mail that could not be kept, as far as that can be.
fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}
