//! The passwords of one shop, made at its first start and kept in `.run/secrets`.
//!
//! They are demo credentials, but real ones: every service has its own for its database and for the
//! broker, so that a service reading another one's tables fails here as it would in production.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::place::{Place, write_private};

pub struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads the file and adds what is missing in it.
    pub fn load_or_create(place: &Place, names: impl IntoIterator<Item = String>) -> Result<Self> {
        let path = place.run.join("secrets");
        let mut secrets = read(&path)?;
        let mut changed = false;
        for name in names {
            if let Entry::Vacant(missing) = secrets.entry(name) {
                missing.insert(random()?);
                changed = true;
            }
        }
        if changed {
            let lines: String = secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            write_private(&path, &lines)?;
        }
        Ok(Self(secrets))
    }

    /// The secret of this name, one of those named when loading.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).expect("every secret is named when the secrets are loaded")
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// 128 random bits as hex digits: safe in URLs, SQL, shell and NATS configuration alike.
fn random() -> Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
