//! `coffeectl dlq redrive`

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
    /// Only those whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub async fn run(shop: &Shop, args: Args, as_json: bool) -> Result<()> {
    let letters = args.choice.settle(shop, args.reason.as_deref(), "Redrive").await?;
    let mut progress = Progress::new();
    for (done, letter) in letters.iter().enumerate() {
        progress.say(format!("redriving: {done} of {}", letters.len()));
        dead_letter::redrive(&shop.jetstream, letter).await.with_context(|| {
            format!("redriving {} ({done} were redriven; running this again is safe)", letter.number)
        })?;
    }
    progress.done();
    if as_json {
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
        return answer::json(&json!({ "redriven": numbers }));
    }
    match letters.len() {
        0 => answer::line("no dead letters to redrive"),
        count => answer::line(format_args!("redriven: {count} ({})", by_consumer(&letters))),
    }
}
