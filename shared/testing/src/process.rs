//! Processes tied to the life of the test. A small shell holds each one's leash: it waits on a pipe that
//! closes when the test process ends, however it ends, and then stops the server.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

/// Prints the server's process id; stops it when standard input closes.
const LEASH: &str = r#"signal=$1; shift; "$@" </dev/null & pid=$!; echo "$pid"; exec >&-; cat >/dev/null; kill -s "$signal" "$pid"; wait"#;

pub struct Process {
    leash: Option<Child>,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// `end` is the signal that stops it at the end of the test; output goes to `log`.
    pub fn start(command: &[&str], envs: &[(String, String)], end: &str, log: &Path) -> Process {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let mut leash = Command::new("sh")
            .args(["-c", &format!("{LEASH} 2>/dev/null"), "leash", end])
            .args(["sh", "-c", r#"log=$1; shift; exec "$@" >>"$log" 2>&1"#, "server"])
            .arg(log)
            .args(command)
            .envs(envs.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(leash.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse::<i32>().ok().and_then(Pid::from_raw);
        Process { leash: Some(leash), pid: pid.expect("the leash prints a process id"), log: log.to_owned() }
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    pub fn is_running(&self) -> bool {
        // A killed server stays a zombie until its leash is let go.
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lets go of the leash and waits until the server has ended.
    pub fn end(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            drop(leash.stdin.take());
            let _ = leash.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A folder that other users can pass through (Postgres does not run as root), removed after the test.
pub struct Folder {
    path: PathBuf,
    janitor: Option<Child>,
}

impl Folder {
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("coffee-shop-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        let clean =
            r#"cat >/dev/null; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 0.2; done"#;
        let janitor = Command::new("sh")
            .args(["-c", clean, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Folder { path, janitor: Some(janitor) }
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}

/// Where the servers are, from `scripts/lib/get-servers`, which also installs what is missing.
pub fn server_program(variable: &str) -> String {
    static FOUND: OnceLock<Vec<(String, String)>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let output = Command::new(script("get-servers")).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "scripts/lib/get-servers failed");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    });
    found.iter().find(|(name, _)| name == variable).expect("get-servers names every server").1.clone()
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/lib").join(name)
}
