//! `coffeectl dlq list`

use anyhow::Result;
use messaging::dead_letter;
use time::OffsetDateTime;

use super::as_json;
use super::choice::Filter;
use crate::answer;
use crate::shop::Shop;
use crate::table::{Table, age, shortened};

const REASON_WIDTH: usize = 80;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Only those whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also the notes of those that were discarded.
    #[arg(long)]
    discarded: bool,
}

pub async fn run(shop: &Shop, args: Args, json: bool) -> Result<()> {
    let now = OffsetDateTime::now_utc();
    let mut letters = dead_letter::list(&shop.jetstream).await?;
    letters.retain(|letter| {
        (args.discarded || !letter.discarded) && args.filter.picks(letter, args.reason.as_deref(), now)
    });
    if json {
        return answer::json(&letters.iter().map(as_json).collect::<Vec<_>>());
    }
    if letters.is_empty() {
        return answer::line("no dead letters");
    }
    let mut table = Table::new(["N", "CONSUMER", "BURIED", "ATTEMPTS", "SUBJECT", "EVENT", "REASON"]);
    for letter in &letters {
        table.row([
            letter.number.to_string(),
            letter.consumer.clone(),
            format!("{} ago", age((now - letter.buried_at).as_seconds_f64())),
            letter.attempts.to_string(),
            letter.subject.clone(),
            shortened(&letter.event_id, 40),
            shortened(&letter.reason, REASON_WIDTH),
        ]);
    }
    answer::text(table)
}
