//! What every `main()` needs, so that a service's own files speak of its business alone: configuration,
//! logs and metrics, connections, health, an HTTP server, and an orderly end.

mod body;
mod clients;
mod config;
mod connect;
mod edge;
#[cfg(feature = "failpoints")]
mod failpoints;
mod figures;
pub mod health;
mod http;
mod media;
mod patience;
pub mod problem;
mod run;
mod sampler;
mod serve;
mod spans;
pub mod staff;
mod telemetry;

pub use clients::Admitted;
pub use config::Config;
pub use media::require_json;
pub use problem::Problem;
pub use run::Service;
pub use staff::StaffToken;
