//! The broker's configuration: one user per service and one for the operator, nobody else. The servers of a
//! cluster know each other by one more password.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;

use crate::broker::Broker;
use crate::catalogue::{Instance, NATS_MONITOR, NATS_ROUTES, SERVICES};
use crate::place::{Place, write_private};
use crate::ports::Ports;
use crate::secrets::Secrets;

/// The broker's user for people and tools.
pub const OPERATOR: &str = "operator";
/// The user as which the servers of a cluster sign in to each other.
pub const ROUTES: &str = "routes";

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Writes `.run/nats.conf`, or that of another server, and returns its path.
pub fn write(
    place: &Place,
    broker: Broker,
    server: &Instance,
    ports: &Ports,
    secrets: &Secrets,
) -> Result<PathBuf> {
    let users: String = SERVICES
        .iter()
        .map(|service| service.name)
        .chain([OPERATOR])
        .map(|user| {
            format!("    {{ user: \"{user}\", password: \"{}\" }}\n", secrets.get(&password_name(user)))
        })
        .collect();
    // JSON strings are valid in this format, and quote whatever the path has in it.
    let store = serde_json::to_string(&broker.store(place, server))?;
    let mut config = format!(
        "# Written at every start of the shop.\n\
         server_name: {server}\n\
         listen: \"{HOST}:{}\"\n\
         max_payload: 1MB\n\
         jetstream {{\n    store_dir: {store}\n    max_memory_store: 256MB\n    max_file_store: 16GB\n}}\n\
         authorization {{\n  users: [\n{users}  ]\n}}\n",
        ports.of(server),
    );
    if broker == Broker::Cluster {
        config += &cluster(broker, server, ports, secrets);
    }
    let path = place.run.join(format!("{server}.conf"));
    write_private(&path, &config)?;
    Ok(path)
}

/// What makes a server one of a cluster. It tells clients nothing of the others, for they know them all, and
/// a service that is sent through a proxy stays there.
fn cluster(broker: Broker, server: &Instance, ports: &Ports, secrets: &Secrets) -> String {
    let password = secrets.get(&password_name(ROUTES));
    let routes: String = broker
        .servers()
        .iter()
        .map(|other| ports.of(&other.also(NATS_ROUTES)))
        .map(|port| format!("    \"nats-route://{ROUTES}:{password}@{HOST}:{port}\"\n"))
        .collect();
    format!(
        "http: \"{HOST}:{}\"\n\
         cluster {{\n  name: coffee-shop\n  listen: \"{HOST}:{}\"\n  no_advertise: true\n\
         \x20 authorization {{ user: {ROUTES}, password: \"{password}\" }}\n  routes: [\n{routes}  ]\n}}\n",
        ports.of(&server.also(NATS_MONITOR)),
        ports.of(&server.also(NATS_ROUTES)),
    )
}

/// Name of a broker user's password among the secrets.
pub fn password_name(user: &str) -> String {
    format!("nats/{user}")
}
