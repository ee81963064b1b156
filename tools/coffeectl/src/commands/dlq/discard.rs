//! `coffeectl dlq discard`

use anyhow::{Context as _, Result};
use messaging::dead_letter;
use serde_json::json;

use super::{by_consumer, numbered};
use crate::answer;
use crate::confirm::confirm;
use crate::shop::Shop;

#[derive(clap::Args)]
pub struct Args {
    /// Their numbers in the list.
    #[arg(required = true)]
    numbers: Vec<u64>,
    /// Why they are not needed; kept in the note that remains.
    #[arg(long)]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub async fn run(shop: &Shop, args: Args, as_json: bool) -> Result<()> {
    let letters = numbered(shop, &args.numbers).await?;
    let what = by_consumer(&letters);
    if letters.len() > 1 {
        eprintln!("{} dead letters ({what}) will be gone for good; a note of each remains.", letters.len());
        confirm(&format!("Discard {} dead letters?", letters.len()), args.yes)?;
    }
    for letter in &letters {
        dead_letter::discard(&shop.jetstream, letter, &args.reason)
            .await
            .with_context(|| format!("discarding {}", letter.number))?;
    }
    if as_json {
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.number).collect();
        return answer::json(&json!({ "discarded": numbers }));
    }
    println!("discarded: {} ({what})", letters.len());
    Ok(())
}
