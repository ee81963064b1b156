//! The shop that is broken: its own folder, its own ports, its own supervisor, so that a running shop is left
//! alone. Whatever way this process ends, even by kill -9, a janitor closes the shop: a shell that waits on a
//! pipe which only this process holds open.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Url;
use rustix::process::{Pid, Signal, kill_process};

/// Wakes what a fault left stopped (of Postgres its backends too, which are in no group of its), and closes
/// the shop. Without the word "keep" its folder goes too.
const JANITOR: &str = r#"
    trap '' INT TERM HUP
    read -r word
    for file in "$COFFEE_SHOP_RUN"/pids/*.pid; do
        pid=$(cat "$file") && kill -CONT "$pid" $(cat "/proc/$pid/task/$pid/children")
    done
    "$1" down
    [ "$word" = keep ] || rm -rf "$2"
"#;

pub const SERVICES: [&str; 8] = [
    "order-api",
    "payment",
    "inventory",
    "email",
    "loyalty",
    "kitchen-display",
    "analytics",
    "card-processor",
];

pub struct Shop {
    folder: PathBuf,
    /// The programs built with failpoints.
    programs: PathBuf,
    project: PathBuf,
    janitor: Option<Child>,
    is_kept: bool,
}

impl Shop {
    /// A closed shop in a new folder. `COFFEE_SHOP_HOME` and `COFFEE_SHOP_BIN` say where the project and its
    /// programs are; `scripts/chaos` sets both.
    pub fn new(seed: u64) -> Result<Shop> {
        let place = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.with_context(|| format!("{name} is not set: start the suite with ./scripts/chaos"))
        };
        let (project, programs) = (place("COFFEE_SHOP_HOME")?, place("COFFEE_SHOP_BIN")?);
        // Never the folder of another run, whose data may be kept.
        let folder = tempfile::Builder::new().prefix(&format!("coffee-shop-chaos-{seed}-")).tempdir();
        let folder = folder.context("cannot make a folder for the shop")?.keep();
        // Run by root, Postgres is another user and has to reach its data.
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let mut shop = Shop { folder, programs, project, janitor: None, is_kept: true };
        let mut janitor = Command::new("sh");
        shop.surround(&mut janitor);
        let janitor = janitor
            .args(["-c", JANITOR, "janitor"])
            .args([shop.programs.join("supervisor"), shop.folder.clone()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        shop.janitor = Some(janitor.context("cannot start a shell to close the shop with")?);
        Ok(shop)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its folder goes when it is closed, with logs and databases. Until this is said it would stay, for
    /// somebody to look into.
    pub fn forget(&mut self) {
        self.is_kept = false;
    }

    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// `up --detach` with these arguments: opens the shop or changes it, and returns when it is so.
    pub async fn up(&self, arguments: &[String]) -> Result<()> {
        let mut command = tokio::process::Command::new(self.programs.join("supervisor"));
        self.surround(command.as_std_mut());
        // The recorder of a chaos run is its report; spans would be work that is not the shop's.
        let quiet = ["up", "--detach", "--scale", "traces=0"];
        let output = command.args(quiet).args(arguments).kill_on_drop(true).output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`up {}` failed: {}", arguments.join(" "), said.trim());
        }
        Ok(())
    }

    /// The operator's tool, as its own process.
    pub async fn coffeectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = tokio::process::Command::new(self.programs.join("coffeectl"));
        command.args(arguments).envs(self.addresses()?).kill_on_drop(true);
        command.output().await.context("cannot run coffeectl")
    }

    /// Everything in the shop's env file.
    pub fn addresses(&self) -> Result<BTreeMap<String, String>> {
        let path = self.run_folder().join("env");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let unquoted = |value: &str| value.trim_matches('\'').to_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), unquoted(value)))
            .collect())
    }

    pub fn address(&self, name: &str) -> Result<Url> {
        let all = self.addresses()?;
        let value = all.get(name).with_context(|| format!("the shop's env file has no {name}"))?;
        value.parse().with_context(|| format!("{name} in the shop's env file is no URL"))
    }

    /// The HTTP address of a service's first instance.
    pub fn url_of(&self, service: &str) -> Result<Url> {
        self.address(&format!("{}_URL", variable(service)))
    }

    pub fn pid(&self, instance: &str) -> Result<Pid> {
        let path = self.run_folder().join("pids").join(format!("{instance}.pid"));
        let pid = fs::read_to_string(&path).with_context(|| format!("{instance} does not run"))?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        pid.with_context(|| format!("{} holds no process id", path.display()))
    }

    pub fn signal(&self, instance: &str, signal: Signal) -> Result<()> {
        let pid = self.pid(instance)?;
        // A process that is just gone is as good as killed.
        let _ = kill_process(pid, signal);
        Ok(())
    }

    /// Kills it and returns when the supervisor has started another.
    pub async fn kill(&self, instance: &str) -> Result<()> {
        let before = self.pid(instance)?;
        self.signal(instance, Signal::KILL)?;
        self.started_again(instance, before, Duration::from_secs(30)).await
    }

    /// Waits until the instance is another process than `before`.
    pub async fn started_again(&self, instance: &str, before: Pid, within: Duration) -> Result<()> {
        let another = async {
            while self.pid(instance).is_ok_and(|pid| pid == before) || self.pid(instance).is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(within, another).await;
        waited.with_context(|| format!("{instance} was not started again within {} s", within.as_secs()))
    }

    /// The surroundings of every program of this shop.
    fn surround(&self, command: &mut Command) {
        // Ports somebody set for their own shop are not meant for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().ends_with("_PORT")) {
            command.env_remove(name);
        }
        command
            .env("COFFEE_SHOP_HOME", &self.project)
            .env("COFFEE_SHOP_BIN", &self.programs)
            .env("COFFEE_SHOP_RUN", self.run_folder())
            .env("PORTS", "free")
            .env_remove("BIND_ADDRESS")
            .env_remove("STAFF_TOKEN");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let Some(mut janitor) = self.janitor.take() else { return };
        if let (true, Some(pipe)) = (self.is_kept, janitor.stdin.as_mut()) {
            use std::io::Write as _;
            let _ = pipe.write_all(b"keep\n");
        }
        drop(janitor.stdin.take());
        let _ = janitor.wait();
    }
}

/// Beginning of a service's names in the env file: `ORDER_API`.
pub fn variable(service: &str) -> String {
    service.replace('-', "_").to_uppercase()
}

/// A process and its children: of Postgres, its backends.
pub fn family(pid: Pid) -> Vec<Pid> {
    let id = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    std::iter::once(pid).chain(children).collect()
}
