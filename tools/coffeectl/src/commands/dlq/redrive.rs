//! `coffeectl dlq redrive`

use anyhow::{Context as _, Result};
use events::topology::ConsumerSpec;
use messaging::dead_letter::{self, DeadLetter};
use serde_json::json;

use super::{by_consumer, numbered};
use crate::answer;
use crate::commands::consumer;
use crate::confirm::confirm;
use crate::progress::Progress;
use crate::shop::Shop;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their numbers in the list.
    numbers: Vec<u64>,
    /// All of this consumer.
    #[arg(long, value_parser = consumer)]
    consumer: Option<&'static ConsumerSpec>,
    /// All there are.
    #[arg(long)]
    all: bool,
}

pub async fn run(shop: &Shop, args: Args, as_json: bool) -> Result<()> {
    let letters = chosen(shop, &args.which).await?;
    if letters.len() > 1 {
        let what = by_consumer(&letters);
        eprintln!(
            "{} dead letters ({what}) go back to the consumers that buried them, and to nobody else.",
            letters.len()
        );
        confirm(&format!("Redrive {} dead letters?", letters.len()), args.yes)?;
    }
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
        0 => println!("no dead letters to redrive"),
        count => println!("redriven: {count} ({})", by_consumer(&letters)),
    }
    Ok(())
}

async fn chosen(shop: &Shop, which: &Which) -> Result<Vec<DeadLetter>> {
    if !which.numbers.is_empty() {
        return numbered(shop, &which.numbers).await;
    }
    let mut letters = dead_letter::list(&shop.jetstream).await?;
    letters
        .retain(|letter| !letter.discarded && which.consumer.is_none_or(|spec| spec.name == letter.consumer));
    Ok(letters)
}
