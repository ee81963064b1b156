//! `coffeectl dlq discard`

use anyhow::{Context as _, Result};
use messaging::dead_letter;
use serde_json::json;

use super::choice::{Choice, by_consumer};
use crate::answer;
use crate::progress::Progress;
use crate::shop::Shop;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Only those whose own reason contains this text.
    #[arg(long, value_name = "TEXT")]
    buried_because: Option<String>,
    /// Why they are not needed; kept in the note that remains.
    #[arg(long, value_name = "WHY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

pub async fn run(shop: &Shop, args: Args, as_json: bool) -> Result<()> {
    let letters = args.choice.settle(shop, args.buried_because.as_deref(), "Discard for good").await?;
    let mut progress = Progress::new();
    for (done, letter) in letters.iter().enumerate() {
        progress.say(format!("discarding: {done} of {}", letters.len()));
        dead_letter::discard(&shop.jetstream, letter, &args.reason).await.with_context(|| {
            format!("discarding {} ({done} were discarded; running this again is safe)", letter.number)
        })?;
    }
    progress.done();
    if as_json {
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
        return answer::json(&json!({ "discarded": numbers }));
    }
    match letters.len() {
        0 => answer::line("no dead letters to discard"),
        count => answer::line(format_args!(
            "discarded: {count} ({}); a note of each remains",
            by_consumer(&letters)
        )),
    }
}
