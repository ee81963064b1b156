//! Asks before something that is not easily undone. A script must say `--yes`: silence is never consent.

use std::io::{IsTerminal, Write, stderr, stdin};

use anyhow::{Result, bail};

/// Returns when the operator agrees; the question goes to standard error, so that output stays clean.
pub fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        bail!("nothing was done: there is no one to ask \"{question}\"; add --yes if it is meant");
    }
    eprint!("{question} [y/N] ");
    stderr().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was done: not confirmed");
    }
    Ok(())
}
