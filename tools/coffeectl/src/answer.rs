//! Standard output: one JSON value for programs, or text for people. Everything else goes to standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use anyhow::Result;
use serde::Serialize;

pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// One line, for a sequence of values.
pub fn json_line(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value)?)
}

pub fn line(line: impl Display) -> Result<()> {
    text(format_args!("{line}\n"))
}

/// Where `println` would panic when nobody reads on, as behind `| head`, this fails.
pub fn text(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Nobody reads on, and nobody needs to be told.
pub fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
