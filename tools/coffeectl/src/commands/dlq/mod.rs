//! `coffeectl dlq`: dead letters, one file per thing to do with them.

mod discard;
mod list;
mod redrive;
mod show;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use messaging::dead_letter::{self, DeadLetter};
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

/// The letters of these numbers; all of them, or an error before anything is done to one.
async fn numbered(shop: &Shop, numbers: &[u64]) -> Result<Vec<DeadLetter>> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    let mut letters = Vec::new();
    for number in numbers {
        let letter = dead_letter::get(&shop.jetstream, number).await?;
        if letter.discarded {
            bail!("{number} is the note of a discarded dead letter: nothing is left to redrive or discard");
        }
        letters.push(letter);
    }
    Ok(letters)
}

/// `2 of payment, 1 of loyalty`
fn by_consumer(letters: &[DeadLetter]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in letters {
        *counts.entry(&letter.consumer).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(consumer, count)| format!("{count} of {consumer}")).collect();
    parts.join(", ")
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
        "reason": letter.reason,
        "attempts": letter.attempts,
        "subject": letter.subject,
        "streamSequence": letter.stream_sequence,
        "discarded": letter.discarded,
        "headers": headers,
        "body": body,
    })
}
