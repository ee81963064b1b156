//! Events that the suite injects although nobody can process them. Each carries a number in a header, which
//! its dead letters keep; each of its hearers has to bury it, and nobody may bury anything else.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use events::topology::{CONSUMERS, DLQ};
use serde::Deserialize;

use crate::shop::Shop;
use crate::site::insist;

pub const NUMBER: &str = "Chaos-Number";
const CONSUMER: &str = "Dead-Letter-Consumer";

#[derive(Default)]
pub struct Letters {
    /// The number of each injected event with each of its hearers.
    expected: Mutex<BTreeSet<(String, &'static str)>>,
}

/// A dead letter as `coffeectl --json dlq list` tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    number: u64,
    consumer: String,
    event_id: String,
    reason: String,
    headers: std::collections::BTreeMap<String, Vec<String>>,
}

impl Letters {
    /// Publishes an event as anybody could by hand.
    #[expect(clippy::disallowed_methods, reason = "this event is nobody's state change")]
    pub async fn inject(&self, broker: &Context, subject: &str, body: &[u8]) -> Result<()> {
        let number = {
            let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
            let number = format!("{subject}#{}", expected.len());
            let hearers = CONSUMERS.iter().filter(|consumer| consumer.is_heard(subject));
            expected.extend(hearers.map(|consumer| (number.clone(), consumer.name)));
            number
        };
        let (subject, body) = (subject.to_owned(), Bytes::copy_from_slice(body));
        insist("publish an event by hand", async || {
            let mut headers = HeaderMap::new();
            headers.insert(NUMBER, number.as_str());
            // An answer that was lost is asked for again, under the same id.
            let message = PublishMessage::build().payload(body.clone()).headers(headers).message_id(&number);
            broker.send_publish(subject.clone(), message).await?.await
        })
        .await?;
        Ok(())
    }

    /// Dead letters that should be there and are not.
    pub async fn missing(&self, broker: &Context) -> Result<Vec<String>> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if expected.is_empty() {
            return Ok(Vec::new());
        }
        let found = found(broker).await?;
        let missing = expected
            .iter()
            .filter(|(number, consumer)| !found.contains(&(number.clone(), (*consumer).to_owned())));
        Ok(missing.map(|(number, consumer)| format!("{consumer} has not buried {number}")).collect())
    }

    /// Throws away what was injected, as an operator would, and names every dead letter that was not.
    pub async fn discard(&self, shop: &Shop) -> Result<Vec<String>> {
        let output = shop.coffeectl(&["--json", "dlq", "list"]).await?;
        ensure!(output.status.success(), "`coffeectl dlq list`: {}", String::from_utf8_lossy(&output.stderr));
        let letters: Vec<Letter> =
            serde_json::from_slice(&output.stdout).context("`coffeectl dlq list` says something else")?;
        let (injected, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| letter.headers.contains_key(NUMBER));
        if !injected.is_empty() {
            let numbers: Vec<String> = injected.iter().map(|letter| letter.number.to_string()).collect();
            let mut arguments = vec!["dlq", "discard", "--yes", "--reason", "injected by the chaos suite"];
            arguments.extend(numbers.iter().map(String::as_str));
            let output = shop.coffeectl(&arguments).await?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`coffeectl dlq discard`: {said}");
        }
        let buried = |letter: Letter| {
            format!("{} buried the good event {}: {}", letter.consumer, letter.event_id, letter.reason)
        };
        Ok(others.into_iter().map(buried).collect())
    }
}

/// The numbers and consumers of all dead letters of injected events.
async fn found(broker: &Context) -> Result<BTreeSet<(String, String)>> {
    let stream = broker.get_stream(DLQ.name).await?;
    let state = stream.cached_info().state.clone();
    let mut found = BTreeSet::new();
    for sequence in state.first_sequence..=state.last_sequence {
        // A number may be missing: that letter was redriven or discarded.
        let Ok(letter) = stream.get_raw_message(sequence).await else { continue };
        let header = |name: &str| letter.headers.get(name).map(|value| value.as_str().to_owned());
        if let (Some(number), Some(consumer)) = (header(NUMBER), header(CONSUMER)) {
            found.insert((number, consumer));
        }
    }
    Ok(found)
}
