//! A shop in a folder of its own, on ports of its own, closed when the test ends.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::stand_in;

pub const SERVICES: [&str; 8] = [
    "card-processor",
    "order-api",
    "kitchen-display",
    "payment",
    "inventory",
    "email",
    "loyalty",
    "analytics",
];

pub struct Shop {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Shop {
    /// A closed shop whose services are stand-ins.
    pub fn new() -> Self {
        let shop = Self::with_programs(|folder| folder.join("programs"));
        fs::create_dir(&shop.programs).unwrap();
        for service in SERVICES {
            shop.set_program(service, &stand_in::script());
        }
        std::os::unix::fs::symlink(testing::sibling_binary("mailbox"), shop.programs.join("mailbox"))
            .unwrap();
        shop
    }

    /// A closed shop with the real services, as they were built beside this test.
    pub fn with_real_services() -> Self {
        let beside = testing::sibling_binary("order-api");
        Self::with_programs(|_| beside.parent().unwrap().to_owned())
    }

    fn with_programs(programs: impl FnOnce(&Path) -> PathBuf) -> Self {
        // A name that needs quoting wherever it is not a single argument.
        let folder = tempfile::Builder::new().prefix("the shop's, ").tempdir().unwrap();
        // Run by root, Postgres is another user and has to reach its data.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let programs = programs(folder.path());
        Self { folder, programs }
    }

    pub fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn set_program(&self, service: &str, script: &str) {
        let path = self.programs.join(service);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    pub fn remove_program(&self, name: &str) {
        fs::remove_file(self.programs.join(name)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
        command
            .args(arguments)
            .env("COFFEE_SHOP_HOME", Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("COFFEE_SHOP_RUN", self.run_folder())
            .env("COFFEE_SHOP_BIN", &self.programs)
            .env("PORTS", "free");
        command
    }

    pub fn open(&self, more: &[&str]) -> String {
        let output = self.command(&[&["up", "--detach"], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}\n{}", text(&output), self.own_log());
        text(&output)
    }

    pub fn close(&self) -> Output {
        self.command(&["down"]).output().unwrap()
    }

    pub fn own_log(&self) -> String {
        fs::read_to_string(self.run_folder().join("logs/supervisor.log")).unwrap_or_default()
    }

    pub fn supervisor(&self) -> u32 {
        fs::read_to_string(self.run_folder().join("supervisor.lock")).unwrap().trim().parse().unwrap()
    }

    /// Pids by the names of their files.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let files = fs::read_dir(self.run_folder().join("pids")).into_iter().flatten().flatten();
        files
            .filter_map(|file| {
                let name = file.file_name().to_str()?.strip_suffix(".pid")?.to_owned();
                Some((name, fs::read_to_string(file.path()).ok()?.trim().parse().ok()?))
            })
            .collect()
    }

    /// The variables of the env file, as a shell that sources it has them.
    pub fn env(&self) -> BTreeMap<String, String> {
        let env = self.run_folder().join("env");
        let output = Command::new("sh").args(["-c", ". \"$0\"; env"]).arg(env).env_clear().output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().filter_map(|l| l.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    /// What a service answers; the stand-ins answer with their environment.
    pub fn ask(&self, service: &str) -> Option<String> {
        use std::io::{Read, Write};
        let url = self.env().remove(&format!("{}_URL", service.replace('-', "_").to_uppercase()))?;
        let mut connection = std::net::TcpStream::connect(url.strip_prefix("http://")?).ok()?;
        connection.write_all(b"GET /health/ready HTTP/1.1\r\nhost: shop\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let output = self.close();
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", text(&output));
        }
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Returns when the process is gone.
pub fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    eventually("the killed process is gone", || !is_running(pid));
}

/// Waits for something that takes its time, but not forever.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}
