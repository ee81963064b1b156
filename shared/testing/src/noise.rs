//! Noise on the stream: arbitrary messages between the good ones, the same in every run.

use async_nats::HeaderMap;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use events::Event;
use messaging::Message;

use crate::{Service, World, arbitrary, eventually};

impl World {
    /// Publishes `count` arbitrary messages on these subjects, and after each of them whatever `between`
    /// publishes. Returns how many of them cannot be read and must end as dead letters.
    pub async fn make_noise(
        &self,
        subjects: &[&str],
        count: usize,
        mut between: impl AsyncFnMut(usize),
    ) -> usize {
        let mut runner = TestRunner::deterministic();
        let message = (arbitrary::headers(), arbitrary::body());
        let mut unreadable = 0;
        for n in 0..count {
            let (headers, body) = message.new_tree(&mut runner).unwrap().current();
            let subject = subjects[n % subjects.len()];
            unreadable += usize::from(<Event as Message>::decode(subject, Some(&headers), &body).is_err());
            self.publish_raw(subject, headers, body).await;
            between(n).await;
        }
        unreadable
    }

    /// Waits until the service has done with all of it. Each unreadable message must be a dead letter of its
    /// own, with a reason found by reading it; any other letter is an event that the service choked on.
    pub async fn assert_noise_is_buried(&self, service: &Service, unreadable: usize) {
        self.settle(service).await;
        let letters = eventually("all of the unreadable ones are dead letters", async || {
            let letters = self.dead_letters().await;
            (letters.len() >= unreadable).then_some(letters)
        })
        .await;
        for letter in &letters {
            let by_reading = ["oversized", "undecodable", "invalid", "unknown"];
            assert!(by_reading.iter().any(|word| letter.reason.starts_with(word)), "{letter:?}");
        }
        assert_eq!(letters.len(), unreadable);
    }

    async fn publish_raw(&self, subject: &str, headers: HeaderMap, body: Vec<u8>) {
        let sent = self.jetstream().publish_with_headers(subject.to_owned(), headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
}
