//! The broker's certificate, its key, and the authority by which the services know it: in `.run/tls`, from
//! files somebody has, or made for this shop and worth nothing elsewhere.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::{Place, write_private};

/// The variables that name files, and the names under which the shop keeps them.
const FILES: [(&str, &str); 3] =
    [("NATS_TLS_CERT", "cert.pem"), ("NATS_TLS_KEY", "key.pem"), ("NATS_TLS_CA", "ca.pem")];

#[derive(Debug, Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    pub authority: PathBuf,
}

impl Tls {
    /// Files that are given are copied, so that a supervisor that follows finds them too. Without any the shop
    /// goes on with those it has.
    pub fn prepare(place: &Place) -> Result<Self> {
        let folder = place.run.join("tls");
        let given = FILES.map(|(variable, _)| env::var_os(variable).filter(|path| !path.is_empty()));
        match given.iter().flatten().count() {
            0 => make(place, &folder)?,
            3 => {
                fs::create_dir_all(&folder)?;
                for ((variable, name), path) in FILES.iter().zip(given.iter().flatten()) {
                    let path = Path::new(path);
                    let text = fs::read_to_string(path)
                        .with_context(|| format!("{variable}={} cannot be read", path.display()))?;
                    write_private(&folder.join(name), &text)?;
                }
            }
            _ => bail!("NATS_TLS_CERT, NATS_TLS_KEY and NATS_TLS_CA go together: set all three, or none"),
        }
        let [certificate, key, authority] = FILES.map(|(_, name)| folder.join(name));
        Ok(Self { certificate, key, authority })
    }

    /// The broker's part of it, as its configuration has it. Between the servers of a cluster both sides show
    /// the certificate.
    pub fn nats_block(&self) -> Result<String> {
        let quoted = |path: &Path| serde_json::to_string(path);
        Ok(format!(
            "tls {{\n  cert_file: {}\n  key_file: {}\n  ca_file: {}\n  timeout: 5\n}}\n",
            quoted(&self.certificate)?,
            quoted(&self.key)?,
            quoted(&self.authority)?
        ))
    }
}

fn make(place: &Place, folder: &Path) -> Result<()> {
    let made = Command::new(place.project.join("scripts/lib/make-certificate"))
        .arg(folder)
        .args(["localhost", "127.0.0.1", "::1"])
        .status()
        .context("cannot run scripts/lib/make-certificate")?;
    if !made.success() {
        bail!("there is no certificate for --tls (see above)");
    }
    Ok(())
}
