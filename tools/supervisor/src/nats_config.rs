//! The broker's configuration: one user per service and one for the operator, nobody else.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;

use crate::catalogue::SERVICES;
use crate::place::{Place, write_private};
use crate::secrets::Secrets;

/// The broker's user for people and tools.
pub const OPERATOR: &str = "operator";

/// Writes `.run/nats.conf` and returns its path.
pub fn write(place: &Place, port: u16, secrets: &Secrets) -> Result<PathBuf> {
    let users: String = SERVICES
        .iter()
        .map(|service| service.name)
        .chain([OPERATOR])
        .map(|user| {
            format!("    {{ user: \"{user}\", password: \"{}\" }}\n", secrets.get(&password_name(user)))
        })
        .collect();
    // JSON strings are valid in this format, and quote whatever the path has in it.
    let store = serde_json::to_string(&place.data().join("nats"))?;
    let config = format!(
        "# Written at every start of the shop.\n\
         server_name: coffee-shop\n\
         listen: \"{}:{port}\"\n\
         max_payload: 1MB\n\
         jetstream {{\n    store_dir: {store}\n    max_memory_store: 256MB\n    max_file_store: 16GB\n}}\n\
         authorization {{\n  users: [\n{users}  ]\n}}\n",
        Ipv4Addr::LOCALHOST,
    );
    let path = place.run.join("nats.conf");
    write_private(&path, &config)?;
    Ok(path)
}

/// Name of a broker user's password among the secrets.
pub fn password_name(user: &str) -> String {
    format!("nats/{user}")
}
