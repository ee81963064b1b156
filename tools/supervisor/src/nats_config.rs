//! The broker's configuration: one user per service, who may do what the shop's map says, and one for the
//! operator, nobody else. The servers of a cluster know each other by one more password.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use events::permissions;
pub use events::permissions::OPERATOR;

use crate::broker::Broker;
use crate::catalogue::{Instance, NATS_MONITOR, NATS_ROUTES};
use crate::place::{Place, write_private};
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::tls::Tls;

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
    tls: Option<&Tls>,
) -> Result<PathBuf> {
    let users = permissions::nats_users(|user| format!("\"{}\"", secrets.get(&password_name(user))));
    // JSON strings are valid in this format, and quote whatever the path has in it.
    let store = serde_json::to_string(&broker.store(place, server))?;
    let mut config = format!(
        "# Written at every start of the shop.\n\
         server_name: {server}\n\
         listen: \"{HOST}:{}\"\n\
         max_payload: 1MB\n\
         jetstream {{\n    store_dir: {store}\n    max_memory_store: 256MB\n    max_file_store: 16GB\n}}\n\
         authorization {{\n{users}}}\n",
        ports.of(server),
    );
    let tls = tls.map_or(Ok(String::new()), Tls::nats_block)?;
    config += &tls;
    if broker == Broker::Cluster {
        config += &cluster(broker, server, ports, secrets, &tls);
    }
    let path = place.run.join(format!("{server}.conf"));
    write_private(&path, &config)?;
    Ok(path)
}

/// What makes a server one of a cluster. It tells clients nothing of the others, for they know them all, and
/// a service that is sent through a proxy stays there.
fn cluster(broker: Broker, server: &Instance, ports: &Ports, secrets: &Secrets, tls: &str) -> String {
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
         \x20 authorization {{ user: {ROUTES}, password: \"{password}\" }}\n  routes: [\n{routes}  ]\n{tls}}}\n",
        ports.of(&server.also(NATS_MONITOR)),
        ports.of(&server.also(NATS_ROUTES)),
    )
}

/// Name of a broker user's password among the secrets.
pub fn password_name(user: &str) -> String {
    format!("nats/{user}")
}

/// `docker/nats/users.conf`: the same users, with the passwords that compose puts into the environment.
pub fn users_in_containers() -> String {
    let variable = |user: &str| format!("${}_NATS_PASSWORD", user.replace('-', "_").to_uppercase());
    format!(
        "# Who may sign in to the broker, and what each may do there. Made from shared/events/src/topology.rs by\n\
         #   cargo run --package supervisor -- broker-users >docker/nats/users.conf\n\n{}",
        permissions::nats_users(variable)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::SERVICES;

    #[test]
    fn the_users_in_containers_are_those_of_the_map() {
        let file = include_str!("../../../docker/nats/users.conf");
        assert!(
            file == users_in_containers(),
            "write it anew: cargo run --package supervisor -- broker-users >docker/nats/users.conf"
        );
    }

    #[test]
    fn every_service_of_the_map_is_one_of_the_shop() {
        let is_known = |user: &str| user == OPERATOR || SERVICES.iter().any(|service| service.name == user);
        assert!(permissions::users().all(is_known));
    }
}
