//! Addresses and credentials: of the file that `./scripts/up` wrote; what it does not say, and all of it where there is none,
//! from the environment. A terminal in which the file of another shop was sourced leads nobody there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// And the folder of the shop, if it runs as processes of this machine.
    pub fn read() -> Result<(Variables, Option<PathBuf>)> {
        let run = std::env::var_os("COFFEE_SHOP_RUN").map(PathBuf::from);
        let run = run.unwrap_or_else(|| project().join(".run"));
        let mut variables = BTreeMap::new();
        let file = run.join("env");
        let is_local = file.is_file();
        if is_local {
            let text = std::fs::read_to_string(&file);
            variables = parse(&text.with_context(|| format!("cannot read {}", file.display()))?);
        }
        Ok((Variables(filled(variables, std::env::vars())), is_local.then_some(run)))
    }

    pub fn get(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| {
            format!("{name} is not known: open a shop with ./scripts/up, or set it in the environment")
        })
    }
}

/// Where the scripts are.
pub fn project() -> PathBuf {
    let home = std::env::var_os("COFFEE_SHOP_HOME").map(PathBuf::from);
    home.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

fn filled(
    mut variables: BTreeMap<String, String>,
    environment: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let is_ours = |name: &str| name.contains("_URL") || matches!(name, "STAFF_TOKEN" | "NATS_CA");
    for (name, value) in environment.filter(|(name, value)| is_ours(name) && !value.is_empty()) {
        variables.entry(name).or_insert(value);
    }
    variables
}

fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').replace(r"'\''", "'")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_env_file_is_read_as_a_shell_would() {
        let found = parse("export A='b'\n# no\nexport C='it'\\''s'\n");
        assert_eq!(found.get("A").map(String::as_str), Some("b"));
        assert_eq!(found.get("C").map(String::as_str), Some("it's"));
    }

    #[test]
    fn the_environment_fills_gaps_and_leads_to_no_other_shop() {
        let file = parse("export ORDER_API_URL='http://ours'\n");
        let environment =
            [("ORDER_API_URL", "http://other"), ("NATS_CA", "/ca.pem"), ("SMTP_URL", ""), ("HOME", "/")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = filled(file, environment.into_iter());
        let expected = [("NATS_CA", "/ca.pem"), ("ORDER_API_URL", "http://ours")];
        assert!(found.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{found:?}");
    }
}
