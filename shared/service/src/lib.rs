//! What every `main()` needs, so that a service's own files speak of its business alone: configuration,
//! logs and metrics, connections, health, an HTTP server, and an orderly end.

mod body;
mod config;
mod connect;
#[cfg(feature = "failpoints")]
mod failpoints;
mod figures;
pub mod health;
mod http;
pub mod problem;
mod run;
mod sampler;
mod spans;
pub mod staff;
mod telemetry;

pub use config::Config;
pub use connect::trace_of;
pub use problem::Problem;
pub use run::Service;
pub use staff::StaffToken;
