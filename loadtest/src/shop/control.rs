//! What a scenario does to the shop, through the same doors as a person: `up --scale`, the staff's HTTP
//! routes, `coffeectl audit`. Programs are taken from beside the running supervisor, so that nothing is built
//! while something is measured.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;

use super::Shop;
use super::address::project;

/// Less than this of something, and it is delivered before the load begins.
const LOW_STOCK: i64 = 100_000_000;
const FULL_STOCK: i64 = 900_000_000;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The verdict of `coffeectl audit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Audit {
    pub holds: bool,
    /// Each violation that was named, and each invariant with more of them.
    pub violations: Vec<String>,
}

impl Audit {
    /// Nobody knows whether the shop is right.
    pub fn not_made(error: &anyhow::Error) -> Audit {
        Audit { holds: false, violations: vec![format!("no audit could be made: {error:#}")] }
    }
}

impl Shop {
    /// As many processes of a service, or 0 or 1 of a server. Returns when they are ready.
    pub async fn scale(&self, part: &str, count: usize) -> Result<()> {
        self.scale_all(&[(part, count)]).await
    }

    pub async fn scale_all(&self, counts: &[(&str, usize)]) -> Result<()> {
        let run = self.run_folder("scaling")?;
        let before = self.processes();
        {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            for (part, _) in counts {
                let count = before.get(*part).map_or(0, Vec::len);
                changed.entry((*part).to_owned()).or_insert(count);
            }
        }
        self.up(run, counts).await
    }

    async fn up(&self, run: &Path, counts: &[(&str, usize)]) -> Result<()> {
        let mut command = self.program(run, "supervisor", "scripts/up");
        command.args(["up", "--detach"]);
        for (part, count) in counts {
            command.args(["--scale", &format!("{part}={count}")]);
        }
        let output = command.output().await.context("cannot run up")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "up --scale failed: {}", said.trim());
        Ok(())
    }

    /// Puts everything back that was changed.
    pub async fn restore(&self) -> Result<()> {
        let changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        let counts: Vec<(&str, usize)> =
            changed.iter().map(|(part, count)| (part.as_str(), *count)).collect();
        let scaled = match &self.run {
            Some(run) if !counts.is_empty() => self.up(run, &counts).await,
            _ => Ok(()),
        };
        let behaviour = self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).take();
        let behaved = match behaviour {
            Some(before) => self.put(&self.behaviour_url()?, before).await,
            None => Ok(()),
        };
        scaled.with_context(|| format!("the shop is not as it was, which was {counts:?}"))?;
        behaved.context("the card processor does not behave as it did before")
    }

    /// How long the card processor takes for a charge.
    pub async fn delay_charges(&self, delay: Duration) -> Result<()> {
        let url = self.behaviour_url()?;
        let read = async { self.http.get(&url).send().await?.error_for_status()?.json::<Value>().await };
        let before = read.await.context("the card processor does not tell how it behaves")?;
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
        self.put(&url, json!({ "delayMs": delay.as_millis() as u64 })).await
    }

    fn behaviour_url(&self) -> Result<String> {
        Ok(format!("{}/behaviour", self.get("CARD_PROCESSOR_URL")?))
    }

    /// So that no order is cancelled because something has run out.
    pub async fn restock(&self) -> Result<()> {
        #[derive(Deserialize)]
        struct Row {
            sku: String,
            available: i64,
        }
        let inventory = self.get("INVENTORY_URL")?;
        let read = async {
            self.http
                .get(format!("{inventory}/stock"))
                .send()
                .await?
                .error_for_status()?
                .json::<Vec<Row>>()
                .await
        };
        let stock = read.await.context("inventory does not tell its stock")?;
        for row in stock.iter().filter(|row| row.available < LOW_STOCK) {
            self.put(&format!("{inventory}/stock/{}", row.sku), json!({ "available": FULL_STOCK })).await?;
        }
        Ok(())
    }

    async fn put(&self, url: &str, body: Value) -> Result<()> {
        let token = self.get("STAFF_TOKEN")?;
        let answer = self.http.put(url).bearer_auth(token).json(&body).send().await;
        let answer = answer.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        ensure!(status.is_success(), "{url}: {status} {}", answer.text().await.unwrap_or_default());
        Ok(())
    }

    /// `answered`: a file with the ids of all orders that were answered 201.
    pub async fn audit(&self, answered: &Path, patience: Duration) -> Result<Audit> {
        let mut command = match &self.run {
            Some(run) => self.program(run, "coffeectl", "scripts/coffeectl"),
            None => Command::new(std::env::var("COFFEECTL").unwrap_or_else(|_| "coffeectl".to_owned())),
        };
        for name in ["OPERATOR_NATS_URL", "OPERATOR_DATABASE_URL"] {
            command.env(name, self.get(name)?);
        }
        if let Ok(authority) = self.get("NATS_CA") {
            command.env("NATS_CA", authority);
        }
        let wait = format!("{}s", patience.as_secs());
        command.args(["audit", "--json", "--wait", &wait, "--answered"]).arg(answered);
        let output = command.stderr(Stdio::inherit()).output().await.context("cannot run coffeectl")?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("coffeectl audit could not check (see above)");
        }
        judge(&output.stdout)
    }

    /// A program of the running shop, or the script that builds it first.
    fn program(&self, run: &Path, name: &str, script: &str) -> Command {
        let beside = supervisor(run).map(|supervisor| supervisor.with_file_name(name));
        let mut command = match beside.filter(|program| program.is_file()) {
            Some(program) => Command::new(program),
            None => {
                let mut command = Command::new("bash");
                // The script of `up` says the word itself.
                command.arg("-c").arg(r#"script=$0; [ "$1" != up ] || shift; exec "$script" "$@""#);
                command.arg(project().join(script));
                command
            }
        };
        command.env("COFFEE_SHOP_HOME", project()).env("COFFEE_SHOP_RUN", run);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The program of a running part, even if its file was replaced meanwhile.
    pub fn program_of(&self, part: &str) -> Result<PathBuf> {
        let processes = self.processes();
        let pid = processes.get(part).and_then(|pids| pids.first());
        let pid = pid.with_context(|| format!("{part} does not run on this machine"))?;
        Ok(PathBuf::from(format!("/proc/{pid}/exe")))
    }

    /// Servers that are one part can only be stopped one by one.
    pub fn is_cluster(&self, part: &str) -> bool {
        self.processes().get(part).is_some_and(|pids| pids.len() > 1)
    }

    /// Waits until the part has no process.
    pub async fn gone(&self, part: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.processes().get(part).is_some_and(|pids| !pids.is_empty()) && Instant::now() < deadline {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn supervisor(run: &Path) -> Option<PathBuf> {
    let pid = std::fs::read_to_string(run.join("supervisor.lock")).ok()?;
    std::fs::read_link(format!("/proc/{}/exe", pid.trim())).ok()
}

fn judge(json: &[u8]) -> Result<Audit> {
    #[derive(Deserialize)]
    struct Report {
        holds: bool,
        checks: Vec<Check>,
    }
    #[derive(Deserialize)]
    struct Check {
        number: usize,
        violations: u64,
        named: Vec<Violation>,
    }
    #[derive(Deserialize)]
    struct Violation {
        about: String,
        problem: String,
    }
    let report: Report = serde_json::from_slice(json).context("coffeectl's audit cannot be read")?;
    let mut violations = Vec::new();
    for check in &report.checks {
        let name = |found: &Violation| format!("{}. {}: {}", check.number, found.about, found.problem);
        violations.extend(check.named.iter().map(name));
        let more = check.violations - check.named.len() as u64;
        if more > 0 {
            violations.push(format!("{}. … and {more} more", check.number));
        }
    }
    Ok(Audit { holds: report.holds, violations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_read() {
        let json = br#"{"holds": false, "checks": [{"number": 5, "invariant": "stock", "checked": 1,
            "violations": 3, "named": [{"about": "latte", "problem": "negative"}], "notes": []}]}"#;
        let audit = judge(json).expect("readable");
        assert!(!audit.holds);
        assert_eq!(audit.violations, ["5. latte: negative", "5. … and 2 more"]);
    }
}
