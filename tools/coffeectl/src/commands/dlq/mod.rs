//! `coffeectl dlq`: dead letters, one file per thing to do with them.

mod choice;
mod discard;
mod list;
mod redrive;
mod show;

use std::collections::BTreeMap;

use anyhow::Result;
use messaging::TraceContext;
use messaging::dead_letter::DeadLetter;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::shop::Shop;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List dead letters, oldest first.
    List(list::Args),
    /// Show one dead letter whole: why, from where, its headers and its body.
    Show(show::Args),
    /// Hand dead letters back to the one consumer that buried them; nobody else sees them again.
    Redrive(redrive::Args),
    /// Throw dead letters away for good, leaving a note of what they were and why.
    Discard(discard::Args),
}

pub async fn run(shop: &Shop, command: Command, json: bool) -> Result<()> {
    match command {
        Command::List(args) => list::run(shop, args, json).await,
        Command::Show(args) => show::run(shop, args, json).await,
        Command::Redrive(args) => redrive::run(shop, args, json).await,
        Command::Discard(args) => discard::run(shop, args, json).await,
    }
}

/// `None` when the message carried no valid trace context.
fn trace_id(letter: &DeadLetter) -> Option<String> {
    let given = choice::header(&letter.headers, "traceparent")?;
    let trace = TraceContext::from_parts(Some(given), None);
    (trace.traceparent == given).then(|| trace.trace_id().to_owned())
}

fn as_json(letter: &DeadLetter) -> Value {
    let headers: BTreeMap<&str, Vec<&str>> = letter
        .headers
        .iter()
        .map(|(name, values)| (name.as_ref(), values.iter().map(|value| value.as_str()).collect()))
        .collect();
    let body = match serde_json::from_slice::<Value>(&letter.body) {
        Ok(body) => body,
        Err(_) => Value::String(String::from_utf8_lossy(&letter.body).into_owned()),
    };
    json!({
        "number": letter.number,
        "buriedAt": letter.buried_at.format(&Rfc3339).unwrap_or_default(),
        "consumer": letter.consumer,
        "eventId": letter.event_id,
        "eventType": choice::event_type(letter),
        "traceId": trace_id(letter),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "subject": letter.subject,
        "streamSequence": letter.stream_sequence,
        "discarded": letter.discarded,
        "headers": headers,
        "body": body,
    })
}
