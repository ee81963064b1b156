//! Addresses and credentials: the environment first, then the file that `./scripts/up` wrote.

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
        variables.extend(std::env::vars().filter(|(name, value)| name.contains("_URL") && !value.is_empty()));
        if let Ok(token) = std::env::var("STAFF_TOKEN") {
            variables.insert("STAFF_TOKEN".to_owned(), token);
        }
        Ok((Variables(variables), is_local.then_some(run)))
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
}
