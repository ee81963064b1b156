//! Which dead letters are meant: named one by one, or described. What is described may be more than the
//! operator thinks of, so it is counted out and confirmed before anything is done to it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use async_nats::HeaderMap;
use events::topology::ConsumerSpec;
use messaging::dead_letter::{self, DeadLetter};
use serde_json::Value;
use time::OffsetDateTime;

use crate::commands::consumer;
use crate::confirm::confirm;
use crate::shop::Shop;
use crate::table::{age, shortened};

/// Reasons told apart before a confirmation.
const REASONS: usize = 5;

#[derive(clap::Args, Default)]
pub struct Filter {
    /// Only those of this consumer.
    #[arg(long, value_parser = consumer)]
    consumer: Option<&'static ConsumerSpec>,
    /// Only those of this type, as in `ce-type` or the body's `eventType`.
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Only those buried longer ago than this: 90s, 10m, 2h, 3days.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only those buried within this time.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.consumer.is_none()
            && self.event_type.is_none()
            && self.older_than.is_none()
            && self.newer_than.is_none()
    }

    /// `reason` is a part of the reason why they were buried.
    pub fn picks(&self, letter: &DeadLetter, reason: Option<&str>, now: OffsetDateTime) -> bool {
        let age = (now - letter.buried_at).max(time::Duration::ZERO);
        self.consumer.is_none_or(|spec| spec.name == letter.consumer)
            && reason.is_none_or(|part| letter.reason.contains(part))
            && self.event_type.as_deref().is_none_or(|wanted| event_type(letter).as_deref() == Some(wanted))
            && self.older_than.is_none_or(|limit| age > limit)
            && self.newer_than.is_none_or(|limit| age <= limit)
    }
}

#[derive(clap::Args)]
pub struct Choice {
    /// Their numbers in the list.
    numbers: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// All there are.
    #[arg(long)]
    all: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Choice {
    /// The letters meant, oldest first, once the operator has agreed to `verb` them. `reason` belongs to the
    /// filter. All of them, or an error before anything is done to one.
    pub async fn settle(&self, shop: &Shop, reason: Option<&str>, verb: &str) -> Result<Vec<DeadLetter>> {
        let described = !self.filter.is_empty() || reason.is_some();
        match (self.numbers.is_empty(), described, self.all) {
            (false, false, false) => numbered(shop, &self.numbers).await,
            (true, true, false) | (true, false, true) => self.described(shop, reason, verb).await,
            (true, false, false) => {
                bail!("say which: their numbers in the list, a filter such as --consumer, or --all")
            }
            _ => bail!("numbers, a filter and --all exclude each other: nothing was done"),
        }
    }

    async fn described(&self, shop: &Shop, reason: Option<&str>, verb: &str) -> Result<Vec<DeadLetter>> {
        let now = OffsetDateTime::now_utc();
        let mut letters = dead_letter::list(&shop.jetstream).await?;
        letters.retain(|letter| !letter.discarded && self.filter.picks(letter, reason, now));
        if !letters.is_empty() {
            eprint!("{}", summary(&letters, now));
            confirm(&format!("{verb} {}?", counted(letters.len())), self.yes)?;
        }
        Ok(letters)
    }
}

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

/// How many of which consumer, from when, and why they were buried.
fn summary(letters: &[DeadLetter], now: OffsetDateTime) -> String {
    let ages = letters.iter().map(|letter| (now - letter.buried_at).as_seconds_f64());
    let (oldest, newest) = (ages.clone().fold(0.0, f64::max), ages.fold(f64::INFINITY, f64::min));
    let mut text = format!(
        "{} ({}), buried {} to {} ago:\n",
        counted(letters.len()),
        by_consumer(letters),
        age(oldest),
        age(newest)
    );
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for letter in letters {
        *reasons.entry(shortened(&letter.reason, 90)).or_default() += 1;
    }
    let mut reasons: Vec<(usize, String)> =
        reasons.into_iter().map(|(reason, count)| (count, reason)).collect();
    reasons.sort_by(|(a, _), (b, _)| b.cmp(a));
    for (count, reason) in reasons.iter().take(REASONS) {
        text += &format!("{count:>7}  {reason}\n");
    }
    let others: usize = reasons.iter().skip(REASONS).map(|(count, _)| count).sum();
    if others > 0 {
        text += &format!("{others:>7}  for other reasons\n");
    }
    text
}

fn counted(letters: usize) -> String {
    if letters == 1 { "1 dead letter".to_owned() } else { format!("{letters} dead letters") }
}

/// `2 of payment, 1 of loyalty`
pub fn by_consumer(letters: &[DeadLetter]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in letters {
        *counts.entry(&letter.consumer).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(consumer, count)| format!("{count} of {consumer}")).collect();
    parts.join(", ")
}

/// By its header or, where somebody published by hand, by its body.
pub fn event_type(letter: &DeadLetter) -> Option<String> {
    let body = || serde_json::from_slice::<Value>(&letter.body).ok();
    let in_body = || body()?.get("eventType")?.as_str().map(str::to_owned);
    header(&letter.headers, "ce-type").map(str::to_owned).or_else(in_body)
}

pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(consumer: &str, reason: &str, minutes_ago: i64, body: &str) -> DeadLetter {
        DeadLetter {
            number: 1,
            buried_at: OffsetDateTime::UNIX_EPOCH - time::Duration::minutes(minutes_ago),
            consumer: consumer.to_owned(),
            event_id: "e-1".to_owned(),
            reason: reason.to_owned(),
            attempts: 1,
            subject: "orders.created".to_owned(),
            stream_sequence: 1,
            discarded: false,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    fn picks(filter: &Filter, reason: Option<&str>, letter: &DeadLetter) -> bool {
        filter.picks(letter, reason, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn every_part_of_a_filter_must_agree() {
        let old = letter("payment", "gave up: no funds", 30, r#"{"eventType":"OrderCreated"}"#);
        let new = letter("loyalty", "undecodable", 1, "no json");
        let none = Filter::default();
        assert!(picks(&none, None, &old) && picks(&none, None, &new));
        assert!(picks(&none, Some("funds"), &old) && !picks(&none, Some("funds"), &new));
        let of_payment = Filter { consumer: consumer("payment").ok(), ..Filter::default() };
        assert!(picks(&of_payment, None, &old) && !picks(&of_payment, None, &new));
        assert!(!picks(&of_payment, Some("undecodable"), &old));
        let created = Filter { event_type: Some("OrderCreated".to_owned()), ..Filter::default() };
        assert!(picks(&created, None, &old) && !picks(&created, None, &new));
        let ten = Some(Duration::from_secs(600));
        let older = Filter { older_than: ten, ..Filter::default() };
        assert!(picks(&older, None, &old) && !picks(&older, None, &new));
        let newer = Filter { newer_than: ten, ..Filter::default() };
        assert!(!picks(&newer, None, &old) && picks(&newer, None, &new));
    }

    #[test]
    fn the_operator_is_told_what_is_meant() {
        let letters = [letter("payment", "no funds", 30, ""), letter("payment", "no funds", 5, "")];
        let told = summary(&letters, OffsetDateTime::UNIX_EPOCH);
        assert_eq!(told, "2 dead letters (2 of payment), buried 30m to 5m ago:\n      2  no funds\n");
    }
}
