//! The customers' mailbox: a Maildir (<https://cr.yp.to/proto/maildir.html>), one file for each mail that
//! really arrived.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::path::Path;

use anyhow::{Context as _, Result};

/// How many mails arrived under each Message-ID.
pub fn read(folder: &Path) -> Result<HashMap<String, u64>> {
    let mut mails = HashMap::new();
    for part in ["new", "cur"] {
        let folder = folder.join(part);
        let entries = match folder.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => {
                entries.with_context(|| format!("the mails in {} cannot be listed", folder.display()))?
            }
        };
        for entry in entries {
            let path = entry?.path();
            let id = message_id(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let id = id.unwrap_or_else(|| format!("none, in {}", path.display()));
            *mails.entry(id).or_default() += 1;
        }
    }
    Ok(mails)
}

fn message_id(path: &Path) -> io::Result<Option<String>> {
    let mut lines = BufReader::with_capacity(2048, File::open(path)?).split(b'\n');
    while let Some(line) = lines.next().transpose()? {
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if !name.eq_ignore_ascii_case("message-id") {
            continue;
        }
        if !value.trim().is_empty() {
            return Ok(Some(value.trim().to_owned()));
        }
        // A long value may stand on the next line (RFC 5322, section 2.2.3).
        let next = lines.next().transpose()?.unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(&next).trim().to_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_their_message_id() {
        let folder = std::env::temp_dir().join(format!("chaos-mailbox-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("new")).expect("a folder");
        let mails = [
            "From: shop\r\nMessage-ID: <a@shop>\r\n\r\nMessage-ID: <not-this@shop>\r\n",
            "message-id:\r\n <a@shop>\r\n\r\nHello",
            "From: shop\r\n\r\nMessage-ID: <nor-this@shop>",
        ];
        for (n, mail) in mails.iter().enumerate() {
            std::fs::write(folder.join("new").join(n.to_string()), mail).expect("a mail");
        }
        let read = read(&folder);
        std::fs::remove_dir_all(&folder).expect("removed");
        let read = read.expect("read");
        assert_eq!((read.len(), read["<a@shop>"]), (2, 2));
    }
}
