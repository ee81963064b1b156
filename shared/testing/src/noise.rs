//! Noise on the stream: arbitrary messages between the good ones, the same in every run.

use async_nats::HeaderMap;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use events::Event;
use messaging::Message;

use crate::{World, arbitrary};

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

    async fn publish_raw(&self, subject: &str, headers: HeaderMap, body: Vec<u8>) {
        let sent = self.jetstream().publish_with_headers(subject.to_owned(), headers, body.into());
        sent.await.unwrap().await.unwrap();
    }
}
