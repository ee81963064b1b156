//! Works off a queue: each task by one worker, done when acknowledged. Unlike a [`Consumer`](crate::Consumer)
//! a worker may call the outside, so no transaction is open around it; a crash between the call and the
//! acknowledgement repeats the task, and the worker must make that harmless or visible.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message as Raw;
use async_nats::jetstream::consumer::pull::{MessagesError, Stream as Pull};
use events::topology::ConsumerSpec;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::consumer::Runtime;
use crate::delivery::{Delivery, hand_back_rest, keep_in_hand, next_at_once};
use crate::figures::{self, Cause};
use crate::settle::{Hand, Settler, Trouble, hand_back, ids, panic_text};
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
    /// Tasks under suspicion take all places, so that only they can be blamed if the process dies.
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
        // Enough for the time until more is there; what waits for a place for longer than the broker does comes again.
        streams::pull(&durable, runtime.settings.workers.div_ceil(4)).await
    };
    let mut tasks = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        opened = opening => opened?,
    };
    let mut under_way = JoinSet::new();
    let mut arrived = Vec::new();
    let result = 'reading: loop {
        while under_way.try_join_next().is_some() {}
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            next = tasks.next() => next,
        };
        let ended = take_what_is_there(first, &mut tasks, &mut arrived, runtime.settings.workers);
        let (suspects, new): (Vec<_>, Vec<_>) =
            arrived.drain(..).partition(|delivery| delivery.delivered > 1);
        let mut parts = [suspects, new].into_iter().filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            let places = if part[0].delivered > 1 { runtime.settings.workers as u32 } else { 1 };
            let place = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    arrived.extend(part.into_iter().chain(parts.flatten()));
                    break 'reading Ok(());
                }
                place = Arc::clone(&crew.places).acquire_many_owned(places) => place,
            };
            let crew = Arc::clone(crew);
            // On the heap: a task is copied where it is spawned and where it ends, and this one has some 10 KB.
            under_way.spawn(Box::pin(async move {
                crew.attend(part).await;
                drop(place);
            }));
        }
        if ended.is_err() {
            break ended;
        }
    };
    // First what others can begin with; what is under way may take long.
    hand_back_rest(tasks, arrived).await;
    under_way.join_all().await;
    result
}

/// The `first`; and if that comes again, what is there and comes again too, up to the next that does not.
fn take_what_is_there(
    first: Option<Result<Raw, MessagesError>>,
    tasks: &mut Pull,
    arrived: &mut Vec<Delivery>,
    most: usize,
) -> Result<(), SetupError> {
    let mut next = Some(first);
    while let Some(task) = next {
        match task {
            Some(Ok(raw)) => arrived.extend(Delivery::new(raw)),
            Some(Err(error)) => return Err(SetupError::broker(error)),
            None => return Err(SetupError::broker("the pull ended")),
        }
        let comes_again = arrived.last().is_some_and(|delivery| delivery.delivered > 1);
        next = if comes_again && arrived.len() < most { next_at_once(tasks) } else { None };
    }
    Ok(())
}

impl<W: Worker> Crew<W> {
    /// A new task, or all suspects that came at once.
    async fn attend(&self, deliveries: Vec<Delivery>) {
        self.settler.count_redelivered(&deliveries);
        let (mut hands, mut unreadable) = (Vec::with_capacity(deliveries.len()), Vec::new());
        for delivery in deliveries {
            match delivery.decode::<W::Task>() {
                Ok(message) => hands.push(Hand { delivery, message }),
                Err(reason) => unreadable.push((delivery, reason)),
            }
        }
        // Of a task that was delivered several times meanwhile, the last is settled, and that settles all.
        hands.sort_by(|one, other| {
            let by_id = one.message.id().cmp(other.message.id());
            by_id.then(other.delivery.number.cmp(&one.delivery.number))
        });
        hands.dedup_by(|one, other| one.message.id() == other.message.id());
        let ack_wait = self.settler.runtime.settings.ack_wait;
        let in_hand =
            hands.iter().map(|hand| &hand.delivery).chain(unreadable.iter().map(|(delivery, _)| delivery));
        let settle = async {
            for (delivery, reason) in &unreadable {
                self.settler.bury(delivery, None, Cause::Unreadable, reason, 1).await;
            }
            self.try_all(&hands).await;
        };
        tokio::select! {
            () = settle => {}
            never = keep_in_hand(in_hand, ack_wait) => never,
        }
    }

    async fn try_all(&self, hands: &[Hand<W::Task>]) {
        match hands {
            [] => {}
            [new] if new.delivery.delivered <= 1 => match self.settler.patiently(|| self.work(new)).await {
                Ok(()) => self.acknowledge(&[new]).await,
                Err(trouble) => self.settler.settle_first_failure(new, trouble).await,
            },
            suspects => self.try_suspects(suspects).await,
        }
    }

    /// Together what was not tried since it came again, alone what was: see [`alone`].
    async fn try_suspects(&self, suspects: &[Hand<W::Task>]) {
        let Settler { runtime, stop, .. } = &self.settler;
        let ids = ids(suspects);
        let look = || async { Ok(bounded(alone::tried(&runtime.pool, W::SPEC.name, &ids)).await?) };
        let tried = match self.settler.patiently(look).await {
            Ok(tried) => tried,
            Err(trouble) => return hand_back(suspects, self.settler.pause_after(&trouble)).await,
        };
        let (mut alone, mut untried): (Vec<_>, Vec<_>) =
            suspects.iter().partition(|hand| tried.contains(hand.message.id()));
        // With a single attempt for each there is none to be shared.
        while untried.len() > 1 && runtime.settings.max_attempts > 1 {
            let before = untried.len();
            untried = self.try_together(untried).await;
            // A slow outside takes some of them each time.
            if untried.len() == before {
                break;
            }
        }
        alone.extend(untried);
        for hand in alone {
            let result = match stop.is_cancelled() {
                true => Err(Trouble::Stopping),
                false => self.settler.patiently(|| self.try_alone(hand)).await,
            };
            if let Err(trouble) = result {
                self.settler.settle_failure(hand, trouble, 1).await;
            }
        }
    }

    /// If this process dies of one of them, all are known to have been tried, and each is tried alone next time. Returns those
    /// for which the outside was away.
    async fn try_together<'a>(&self, suspects: Vec<&'a Hand<W::Task>>) -> Vec<&'a Hand<W::Task>> {
        let attempt = match self.settler.begin_attempts(suspects.iter().copied()).await {
            Ok(attempt) => attempt,
            Err(trouble) => {
                hand_back(suspects, self.settler.pause_after(&trouble)).await;
                return Vec::new();
            }
        };
        let results = join_all(suspects.iter().map(|hand| self.work(hand))).await;
        let (mut done, mut away) = (Vec::new(), Vec::new());
        for (hand, result) in suspects.into_iter().zip(results) {
            match result {
                Ok(()) => done.push(hand),
                Err(Trouble::Failed(Failure::Unavailable(_))) => away.push(hand),
                Err(trouble) => self.settler.settle_failure(hand, trouble, attempt.number).await,
            }
        }
        self.finish(&done).await;
        self.settler.forgive(away.iter().copied()).await;
        away
    }

    /// While the outside is away, the place of the only suspect is left to others.
    async fn try_alone(&self, hand: &Hand<W::Task>) -> Result<(), Trouble> {
        let Some(attempt) = self.settler.begin_attempt(hand).await else { return Ok(()) };
        match self.work(hand).await {
            Ok(()) => self.finish(&[hand]).await,
            Err(away @ Trouble::Failed(Failure::Unavailable(_))) => {
                self.settler.forgive([hand]).await;
                return Err(away);
            }
            Err(trouble) => self.settler.settle_failure(hand, trouble, attempt.number).await,
        }
        Ok(())
    }

    async fn finish(&self, done: &[&Hand<W::Task>]) {
        if self.settler.forget(done).await {
            self.acknowledge(done).await;
        }
    }

    async fn acknowledge(&self, done: &[&Hand<W::Task>]) {
        for hand in done {
            failpoint::dies_at("task-before-ack");
            hand.delivery.ack().await;
            self.settler.runtime.committed(W::SPEC.name, 1, 0);
        }
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
        }
        result
    }
}
