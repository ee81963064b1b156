//! Where a shop keeps everything: one folder, `.run` in the project or `$COFFEE_SHOP_RUN`.
//!
//! Deleting the folder forgets the shop. Files that hold passwords are written by [`write_private`]
//! only, so no password is ever readable by another user, not even for a moment.

use std::env;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::catalogue::Instance;

/// The folders a supervisor works with.
#[derive(Debug, Clone)]
pub struct Place {
    /// State of this shop.
    pub run: PathBuf,
    /// The project: where the scripts are.
    pub project: PathBuf,
    /// Where the programs of the shop are.
    pub programs: PathBuf,
}

impl Place {
    /// Reads `COFFEE_SHOP_HOME`, `COFFEE_SHOP_RUN` and `COFFEE_SHOP_BIN`; without them the project is the
    /// folder above this program that has the scripts, and the shop's programs are beside it.
    pub fn from_env() -> Result<Self> {
        let own_folder =
            env::current_exe()?.parent().context("the supervisor's program has no folder")?.to_owned();
        let project = match env::var_os("COFFEE_SHOP_HOME") {
            Some(home) => absolute(home.as_ref())?,
            None => own_folder
                .ancestors()
                .find(|folder| folder.join("scripts/lib/postgres").is_file())
                .context("cannot find the project's scripts; set COFFEE_SHOP_HOME to the project's folder")?
                .to_owned(),
        };
        if !project.join("scripts/lib/postgres").is_file() {
            bail!(
                "COFFEE_SHOP_HOME={} is not the project's folder: it has no scripts/lib",
                project.display()
            );
        }
        let run = env::var_os("COFFEE_SHOP_RUN")
            .map_or_else(|| Ok(project.join(".run")), |run| absolute(run.as_ref()))?;
        let programs = env::var_os("COFFEE_SHOP_BIN").map_or(Ok(own_folder), |bin| absolute(bin.as_ref()))?;
        Ok(Self { run, project, programs })
    }

    /// Makes the folders. They are passable for all users, because Postgres runs as another one.
    pub fn create(&self) -> Result<()> {
        for folder in [self.pids(), self.logs(), self.data()] {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(())
    }

    pub fn pids(&self) -> PathBuf {
        self.run.join("pids")
    }
    pub fn logs(&self) -> PathBuf {
        self.run.join("logs")
    }
    pub fn data(&self) -> PathBuf {
        self.run.join("data")
    }
    pub fn postgres(&self) -> PathBuf {
        self.data().join("postgres")
    }
    /// Where Postgres has its data if it had to move, under root (see scripts/lib/postgres).
    pub fn postgres_elsewhere(&self) -> Option<PathBuf> {
        std::fs::read_link(self.postgres().join("elsewhere")).ok()
    }
    /// Where Postgres has its data, and its socket.
    pub fn postgres_socket(&self) -> PathBuf {
        self.postgres_elsewhere().unwrap_or_else(|| self.postgres())
    }
    pub fn mail(&self) -> PathBuf {
        self.run.join("mail")
    }
    pub fn env_file(&self) -> PathBuf {
        self.run.join("env")
    }
    pub fn lock(&self) -> PathBuf {
        self.run.join("supervisor.lock")
    }
    pub fn status(&self) -> PathBuf {
        self.run.join("status.json")
    }
    pub fn plan(&self) -> PathBuf {
        self.run.join("plan")
    }
    pub fn log(&self, instance: &Instance) -> PathBuf {
        self.logs().join(format!("{instance}.log"))
    }
    pub fn supervisor_log(&self) -> PathBuf {
        self.logs().join("supervisor.log")
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a usable folder name", path.display()))
}

/// A path as a person in the current folder would write it.
pub fn shown(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Replaces a file in one step, readable by its owner only.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    let new = path.with_extension(format!("new{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(content.as_bytes())?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
