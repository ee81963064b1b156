//! Works off a queue: each task by one worker, done when acknowledged. Unlike a [`Consumer`](crate::Consumer)
//! a worker may call the outside, so no transaction is open around it; a crash between the call and the
//! acknowledgement repeats the task, and the worker must make that harmless or visible.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::topology::ConsumerSpec;
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::consumer::Runtime;
use crate::delivery::{Delivery, hand_back_rest, keep_in_hand};
use crate::figures::{self, Cause};
use crate::settle::{Hand, Settler, Trouble, panic_text};
use crate::span::Span;
use crate::streams::{self, SetupError};
use crate::{Failure, Message, Received, alone, bounded, failpoint, instances};

pub trait Worker: Send + Sync + 'static {
    type Task: Message;

    /// Its name and queue. The name is an identity, as for a consumer.
    const SPEC: &'static ConsumerSpec;

    /// How long one task may take; it is kept from other workers meanwhile.
    const TIMEOUT: Duration;

    fn work(&self, task: &Received<Self::Task>) -> impl Future<Output = Result<(), Failure>> + Send;
}

struct Crew<W> {
    settler: Settler,
    worker: W,
    /// A task under suspicion takes all places, so that only it can be blamed if the process dies.
    places: Arc<Semaphore>,
}

/// Runs until `runtime.stop`, with `settings.workers` tasks under way at most.
pub async fn run<W: Worker>(runtime: Arc<Runtime>, worker: W) -> Result<(), SetupError> {
    let heartbeat = tokio::spawn(instances::heartbeat(Arc::clone(&runtime), W::SPEC.name));
    figures::consumer_starts(W::SPEC.name);
    let stop = runtime.stop.clone();
    let places = Arc::new(Semaphore::new(runtime.settings.workers));
    let settler = Settler { runtime: Arc::clone(&runtime), spec: W::SPEC, stop: stop.clone() };
    let crew = Arc::new(Crew { settler, worker, places });
    let result = streams::until_stopped(&stop, &runtime.settings, W::SPEC, || read(&crew)).await;
    if result.is_err() {
        heartbeat.abort();
    }
    let _ = heartbeat.await;
    result
}

async fn read<W: Worker>(crew: &Arc<Crew<W>>) -> Result<(), SetupError> {
    let Settler { runtime, spec, stop } = &crew.settler;
    let opening = async {
        let durable = streams::ensure_consumer(runtime, spec, None).await?;
        streams::pull(&durable, runtime.settings.workers).await
    };
    let mut tasks = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        opened = opening => opened?,
    };
    let mut under_way = JoinSet::new();
    let result = loop {
        while under_way.try_join_next().is_some() {}
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            next = tasks.next() => next,
        };
        let delivery = match next {
            Some(Ok(raw)) => Delivery::new(raw),
            Some(Err(error)) => break Err(SetupError::broker(error)),
            None => break Err(SetupError::broker("the pull ended")),
        };
        if let Some(delivery) = delivery {
            let places = if delivery.delivered > 1 { runtime.settings.workers as u32 } else { 1 };
            let Ok(place) = Arc::clone(&crew.places).acquire_many_owned(places).await else { break Ok(()) };
            let crew = Arc::clone(crew);
            // On the heap: a task is copied where it is spawned and where it ends, and this one has some 10 KB.
            under_way.spawn(Box::pin(async move {
                crew.attend(delivery).await;
                drop(place);
            }));
        }
    };
    under_way.join_all().await;
    hand_back_rest(tasks, Vec::new()).await;
    result
}

impl<W: Worker> Crew<W> {
    async fn attend(&self, delivery: Delivery) {
        self.settler.count_redelivered([&delivery]);
        let message = match delivery.decode::<W::Task>() {
            Ok(message) => message,
            Err(reason) => return self.settler.bury(&delivery, None, Cause::Unreadable, &reason, 1).await,
        };
        let hand = Hand { delivery, message };
        let ack_wait = self.settler.runtime.settings.ack_wait;
        tokio::select! {
            () = self.try_once(&hand) => {}
            never = keep_in_hand(vec![&hand.delivery], ack_wait) => never,
        }
    }

    async fn try_once(&self, hand: &Hand<W::Task>) {
        let result = match hand.delivery.delivered {
            0..=1 => self.settler.patiently(|| self.work(hand)).await,
            _ => self.settler.patiently(|| self.try_alone(hand)).await,
        };
        if let Err(trouble) = result {
            self.settler.settle_failure(hand, trouble, 1).await;
        }
    }

    /// While the outside is away, the place of the only suspect is left to others.
    async fn try_alone(&self, hand: &Hand<W::Task>) -> Result<(), Trouble> {
        let Some(attempt) = self.settler.begin_attempt(hand).await else { return Ok(()) };
        match self.work(hand).await {
            Ok(()) => {
                if let Ok(mut db) = self.settler.runtime.pool.acquire().await {
                    let _ = bounded(alone::clear(&mut db, W::SPEC.name, &[hand.message.id()])).await;
                }
            }
            Err(away @ Trouble::Failed(Failure::Unavailable(_))) => {
                self.settler.forgive(slice::from_ref(hand)).await;
                return Err(away);
            }
            Err(trouble) => self.settler.settle_failure(hand, trouble, attempt.number).await,
        }
        Ok(())
    }

    async fn work(&self, hand: &Hand<W::Task>) -> Result<(), Trouble> {
        let started = Instant::now();
        let mut span = Span::process(W::SPEC.name, &hand.message);
        let task = hand.message.under(span.context());
        let work = AssertUnwindSafe(self.worker.work(&task)).catch_unwind();
        let result = match tokio::time::timeout(W::TIMEOUT, work).await {
            Err(_) => Err(Trouble::Stuck(format!("the task did not end within {:?}", W::TIMEOUT))),
            Ok(Err(panic)) => Err(Trouble::Stuck(format!("panicked: {}", panic_text(&*panic)))),
            Ok(Ok(result)) => result.map_err(Trouble::Failed),
        };
        self.settler.timed(started, result.is_ok());
        if let Err(trouble) = &result {
            span.fail(trouble.to_string());
        } else {
            failpoint::dies_at("task-before-ack");
            hand.delivery.ack().await;
            self.settler.runtime.committed(W::SPEC.name, 1, 0);
        }
        result
    }
}
