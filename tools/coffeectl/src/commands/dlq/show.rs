//! `coffeectl dlq show N`

use std::fmt::Write as _;

use anyhow::Result;
use messaging::dead_letter::{self, DeadLetter};
use time::format_description::well_known::Rfc3339;

use super::choice::event_type;
use super::{as_json, trace_id};
use crate::answer;
use crate::shop::Shop;

#[derive(clap::Args)]
pub struct Args {
    /// Its number in the list.
    number: u64,
}

pub async fn run(shop: &Shop, args: Args, json: bool) -> Result<()> {
    let letter = dead_letter::get(&shop.jetstream, args.number).await?;
    if json {
        return answer::json(&as_json(&letter));
    }
    answer::text(text(&letter))
}

fn text(letter: &DeadLetter) -> String {
    let kind = if letter.discarded { "note of a discarded dead letter" } else { "dead letter" };
    let mut out = format!("{kind} {}\n", letter.number);
    let facts = [
        ("reason", letter.reason.clone()),
        ("consumer", letter.consumer.clone()),
        ("attempts", letter.attempts.to_string()),
        ("buried at", letter.buried_at.format(&Rfc3339).unwrap_or_default()),
        ("event id", letter.event_id.clone()),
        ("event type", event_type(letter).unwrap_or_else(|| "unknown".to_owned())),
        ("trace id", trace_id(letter).unwrap_or_else(|| "none".to_owned())),
        ("subject", letter.subject.clone()),
        ("sequence", letter.stream_sequence.to_string()),
    ];
    for (name, value) in facts {
        let _ = writeln!(out, "  {name:<10} {value}");
    }
    out.push_str("headers\n");
    let mut headers: Vec<(&str, &str)> = letter
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str())))
        .collect();
    headers.sort_unstable();
    for (name, value) in headers {
        let _ = writeln!(out, "  {name}: {value}");
    }
    let _ = writeln!(out, "body ({} bytes)", letter.body.len());
    out.push_str(&body(&letter.body));
    out
}

/// JSON indented, other text as it is (without what would drive the terminal), the rest as a hex dump.
fn body(bytes: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) {
        return serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let safe = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
            text.chars().map(safe).chain(['\n']).collect()
        }
        Err(_) => hex_dump(bytes),
    }
}

fn hex_dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
        let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        let ascii: String = chunk.iter().map(printable).collect();
        let _ = writeln!(out, "{:08x}  {hex:<48} |{ascii}|", line * 16);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_in_the_form_that_tells_most() {
        assert_eq!(body(br#"{"a":1}"#), "{\n  \"a\": 1\n}\n");
        assert_eq!(body(b"not json\x1b[2J"), "not json\u{fffd}[2J\n");
        let dump = body(b"\xff\xfecoffee");
        assert!(dump.starts_with("00000000  ff fe 63 6f 66 66 65 65 "), "{dump}");
        assert!(dump.ends_with("|..coffee|\n"), "{dump}");
    }
}
