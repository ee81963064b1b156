//! How each kind of process is started and asked whether it is ready.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::broker::Broker;
use crate::catalogue::{Instance, MAILBOX, NATS, NATS_MONITOR, POSTGRES, SERVICES, TRACES, TRACES_OTLP};
use crate::env_file::Addresses;
use crate::place::Place;
use crate::plan::Plan;
use crate::ports::Ports;
use crate::process::Process;
use crate::readiness::Probe;
use crate::secrets::Secrets;
use crate::tls::Tls;
use crate::{databases, env_file, nats_config};

/// The program of the part `traces`.
const TRACE_PAGE: &str = "trace-page";
/// Tells a service where to send spans.
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Read by tokio (<https://docs.rs/tokio/latest/tokio/runtime/struct.Builder.html#method.worker_threads>).
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Where the programs of the broker and the database server are (see `scripts/lib/get-servers`).
#[derive(Debug)]
pub struct Servers {
    nats: PathBuf,
    postgres: PathBuf,
}

impl Servers {
    /// From the environment that `scripts/up` prepared, else by running the same script.
    pub async fn find(place: &Place) -> Result<Self> {
        let from_env = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let (Some(nats), Some(postgres)) = (from_env("NATS_SERVER"), from_env("POSTGRES_BIN")) {
            return Ok(Self { nats, postgres });
        }
        let script = r#"set -e; found=$("$0"); eval "$found"; printf '%s\n' "$NATS_SERVER" "$POSTGRES_BIN""#;
        let get_servers = place.project.join("scripts/lib/get-servers");
        let output = Command::new("bash")
            .args(["-c", script])
            .arg(&get_servers)
            .stderr(std::process::Stdio::inherit())
            .output()
            .await
            .context("cannot run bash")?;
        let found = String::from_utf8_lossy(&output.stdout);
        match *found.lines().collect::<Vec<_>>() {
            [nats, postgres] if output.status.success() => {
                Ok(Self { nats: nats.into(), postgres: postgres.into() })
            }
            _ => bail!("{} could not get the servers (see above)", get_servers.display()),
        }
    }
}

/// Everything needed to start any process of the shop.
pub struct Launcher {
    pub place: Place,
    pub secrets: Secrets,
    pub ports: Mutex<Ports>,
    pub broker: Broker,
    pub tls: Option<Tls>,
    pub bind: IpAddr,
    pub staff_token: String,
    pub servers: Servers,
    pub http: reqwest::Client,
}

impl Launcher {
    /// Fails if a program that the shop cannot do without is not there.
    pub fn check_programs(place: &Place) -> Result<()> {
        let needed = SERVICES.iter().chain([&MAILBOX]).map(|part| part.name);
        let missing: Vec<_> = needed.filter(|name| !place.programs.join(name).is_file()).collect();
        if !missing.is_empty() {
            bail!(
                "no program for {} in {}: build them with `cargo build --release --bins`, or set COFFEE_SHOP_BIN",
                missing.join(", "),
                place.programs.display()
            );
        }
        Ok(())
    }

    /// Why there can be no trace page, if there cannot.
    pub fn missing_traces(place: &Place) -> Option<String> {
        let program = place.programs.join(TRACE_PAGE);
        (!program.is_file()).then(|| {
            let folder = place.programs.display();
            format!("no program {TRACE_PAGE} in {folder}: build it with `cargo build --release --bin {TRACE_PAGE}`")
        })
    }

    pub fn port(&self, instance: &Instance) -> u16 {
        self.ports.lock().expect("no thread panics with the ports in hand").of(instance)
    }

    /// The addresses as they are now.
    pub fn with_addresses<T>(&self, use_them: impl FnOnce(&Addresses<'_>) -> T) -> T {
        let ports = self.ports.lock().expect("no thread panics with the ports in hand");
        use_them(&Addresses {
            ports: &ports,
            secrets: &self.secrets,
            broker: self.broker,
            broker_authority: self.tls.as_ref().map(|tls| tls.authority.as_path()),
            bind: self.bind,
            postgres: &self.place.postgres_socket(),
            staff_token: &self.staff_token,
        })
    }

    pub fn start(&self, instance: &Instance) -> Result<Process> {
        let command = match instance.part {
            NATS => self.nats(instance)?,
            POSTGRES => self.postgres(instance),
            MAILBOX => self.mailbox(instance),
            TRACES => self.traces(instance)?,
            _ => self.service(instance)?,
        };
        let process = Process::start(command, &self.place.log(instance))?;
        if instance.can_wait() {
            process.come_last();
        }
        Ok(process)
    }

    pub fn probe(&self, instance: &Instance) -> Probe<'_> {
        let port = self.port(instance);
        match instance.part {
            NATS => match self.broker {
                Broker::Single => Probe::Greeting { port, starts_with: "INFO " },
                // Healthy is a server of a cluster that has a leader, and that has caught up with it.
                Broker::Cluster => {
                    let monitor = self.port(&instance.also(NATS_MONITOR));
                    Probe::Http { client: &self.http, url: format!("http://127.0.0.1:{monitor}/healthz") }
                }
            },
            POSTGRES => Probe::Postgres { port, secrets: &self.secrets },
            MAILBOX => Probe::Greeting { port, starts_with: "220 " },
            _ => {
                let url = self.with_addresses(|addresses| addresses.http(instance));
                Probe::Http { client: &self.http, url: format!("{url}/health/ready") }
            }
        }
    }

    fn nats(&self, instance: &Instance) -> Result<Command> {
        let ports = self.ports.lock().expect("no thread panics with the ports in hand");
        let config =
            nats_config::write(&self.place, self.broker, instance, &ports, &self.secrets, self.tls.as_ref())?;
        let mut command = Command::new(&self.servers.nats);
        command.arg("--config").arg(config);
        Ok(command)
    }

    fn postgres(&self, instance: &Instance) -> Command {
        let mut command = Command::new(self.place.project.join("scripts/lib/postgres"));
        command
            .arg(self.place.postgres())
            .arg(self.port(instance).to_string())
            .env("POSTGRES_BIN", &self.servers.postgres)
            .env("SUPERUSER_PASSWORD", self.secrets.get(databases::SUPERUSER));
        command
    }

    fn mailbox(&self, instance: &Instance) -> Command {
        let mut command = Command::new(self.place.programs.join(MAILBOX.name));
        command.arg(self.place.mail()).arg(format!("127.0.0.1:{}", self.port(instance)));
        command
    }

    /// Its pages are where `JAEGER_UI` says, which it reads itself.
    fn traces(&self, instance: &Instance) -> Result<Command> {
        if let Some(missing) = Self::missing_traces(&self.place) {
            bail!(missing);
        }
        let mut command = Command::new(self.place.programs.join(TRACE_PAGE));
        command
            .arg("--http")
            .arg(SocketAddr::new(self.bind, self.port(instance)).to_string())
            .arg("--otlp")
            .arg(format!("127.0.0.1:{}", self.port(&instance.also(TRACES_OTLP))));
        Ok(command)
    }

    /// What is wanted is read at every start, so that a change takes effect at the next.
    fn service(&self, instance: &Instance) -> Result<Command> {
        let plan = Plan::load(&self.place)?;
        let mut command = Command::new(self.place.programs.join(instance.part.name));
        // What a service is not told, such as a broker it has no business with, it does not find by accident.
        for (name, _) in env_file::TOLD {
            command.env_remove(name);
        }
        // Unless somebody has another collector, or wants none: it may be empty.
        if plan.has_traces() && env::var_os(COLLECTOR).is_none() {
            command.env(COLLECTOR, self.with_addresses(|addresses| addresses.otlp()));
        }
        // The services share the cores already. With a thread for each core in each of them, work is handed from thread to
        // thread, and every time one has to be woken.
        if instance.part.name != "order-api" && env::var_os(THREADS).is_none() {
            command.env(THREADS, "1");
        }
        command
            .envs(plan.settings(instance.part))
            .envs(self.with_addresses(|addresses| addresses.of_service(instance, &plan)));
        Ok(command)
    }
}
