//! Makes one statement of what many ask for at the same time: what is asked while one statement is under way, or soon
//! after, goes into the next.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::{Failure, bounded};

/// No more fit into a statement.
const MOST: usize = 256;

pub trait Statement: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Answer: Send + 'static;

    /// From one statement to the next, at least, unless the last was full: one costs nearly the same for an item as for many.
    const PACE: Duration;

    /// Does it for all of the items or for none, and answers each in its place.
    fn run(
        &self,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;
}

type Reply<S> = oneshot::Sender<Result<<S as Statement>::Answer, Failure>>;

pub struct Together<S: Statement> {
    asked: mpsc::Sender<(S::Item, Reply<S>)>,
}

impl<S: Statement> Together<S> {
    /// Works until it is dropped.
    pub fn new(statement: S) -> Together<S> {
        let (asked, mut asking) = mpsc::channel(MOST);
        tokio::spawn(async move {
            let mut waiting = Vec::new();
            while asking.recv_many(&mut waiting, MOST).await > 0 {
                let pace = if waiting.len() == MOST { Duration::ZERO } else { S::PACE };
                let next = Instant::now() + pace;
                let (items, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
                answer(&statement, &items, replies).await;
                sleep_until(next).await;
            }
        });
        Together { asked }
    }

    pub async fn ask(&self, item: S::Item) -> Result<S::Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        let away = || Failure::Unavailable("nobody asks the database any more".into());
        self.asked.send((item, reply)).await.map_err(|_| away())?;
        answer.await.unwrap_or_else(|_| Err(away()))
    }
}

/// A database that is away is away for all. Otherwise what fails together is tried one by one, so that a bad item is not the
/// ruin of the others.
async fn answer<S: Statement>(statement: &S, items: &[S::Item], replies: Vec<Reply<S>>) {
    match run(statement, items).await {
        Ok(answers) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                let _ = reply.send(Ok(answer));
            }
        }
        Err(Failure::Unavailable(error)) => {
            for reply in replies {
                let _ = reply.send(Err(Failure::Unavailable(error.to_string().into())));
            }
        }
        Err(_) => {
            for (item, reply) in items.chunks(1).zip(replies) {
                let answer = run(statement, item).await.map(|mut answers| answers.swap_remove(0));
                let _ = reply.send(answer);
            }
        }
    }
}

async fn run<S: Statement>(statement: &S, items: &[S::Item]) -> Result<Vec<S::Answer>, Failure> {
    Ok(bounded(statement.run(items)).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Doubles numbers, but not 13.
    struct Doubling(Arc<AtomicUsize>);

    impl Statement for Doubling {
        type Item = u32;
        type Answer = u32;
        const PACE: Duration = Duration::from_millis(20);

        async fn run(&self, items: &[u32]) -> Result<Vec<u32>, sqlx::Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            match items.contains(&13) {
                true => Err(sqlx::Error::RowNotFound),
                false => Ok(items.iter().map(|n| n * 2).collect()),
            }
        }
    }

    async fn ask(numbers: std::ops::Range<u32>) -> (Vec<Option<u32>>, usize) {
        let statements = Arc::new(AtomicUsize::new(0));
        let doubling = Together::new(Doubling(Arc::clone(&statements)));
        let answers = futures::future::join_all(numbers.map(|n| doubling.ask(n))).await;
        (answers.into_iter().map(Result::ok).collect(), statements.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_is_asked_at_the_same_time_is_one_statement() {
        let (answers, statements) = ask(20..60).await;
        assert_eq!(answers, (20..60).map(|n| Some(n * 2)).collect::<Vec<_>>());
        assert!(statements <= 2, "{statements} statements for 40");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_soon_after_is_one_statement_too() {
        let statements = Arc::new(AtomicUsize::new(0));
        let doubling = Together::new(Doubling(Arc::clone(&statements)));
        let one_by_one = (20..29).map(|n| {
            let doubling = &doubling;
            async move {
                tokio::time::sleep(2 * Duration::from_millis(n - 20)).await;
                doubling.ask(n as u32).await.ok()
            }
        });
        let answers = futures::future::join_all(one_by_one).await;
        assert_eq!(answers, (20..29).map(|n| Some(n * 2)).collect::<Vec<_>>());
        assert_eq!(statements.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_bad_item_fails_alone() {
        let (answers, _) = ask(10..20).await;
        let wanted = |n: u32| (n != 13).then_some(n * 2);
        assert_eq!(answers, (10..20).map(wanted).collect::<Vec<_>>());
    }
}
