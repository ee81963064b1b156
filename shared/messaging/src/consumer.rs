//! Reads a durable consumer and hands its events, in batches, to a [`Consumer`]. Everything that is the same
//! for every consumer lives here and in `batch.rs`: claims, transactions, retries, dead
//! letters, leases, and stopping.

use std::cmp::Reverse;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use events::topology::ConsumerSpec;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::arrivals::{Arrival, Arrivals, Wanted};
use crate::delivery::{Delivery, keep_in_hand};
use crate::figures::Cause;
use crate::instances::{self, Counters};
use crate::settle::{Hand, Settler};
use crate::streams::{self, SetupError};
use crate::succession::Succession;
use crate::{Failure, Kept, Message, Received, Settings, figures, partitions, position};

/// What a service does with what it hears.
pub trait Consumer: Send + Sync + 'static {
    type Message: Message;

    /// Its name and subjects. **The name is an identity**: renamed, it is a new consumer, which reads the
    /// whole stream again with an empty inbox.
    const SPEC: &'static ConsumerSpec;

    /// From the beginning of one transaction to that of the next, at least, unless one of them is full: one costs nearly the
    /// same for an event as for many, so in a busy moment some are let come together. Longer where nobody waits for the effects.
    const PACE: Duration = Duration::from_millis(10);

    /// Writes the effects of events that were never processed before, in stream order, through the open
    /// transaction. It must not call anything outside. The runtime commits; an error undoes all of it.
    ///
    /// An error of the database has to be returned, even if it does not matter (or be undone to a savepoint): after one
    /// Postgres undoes the whole transaction, whatever the handler says. Debug builds, and so tests, find a handler that
    /// swallows one.
    fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Received<Self::Message>],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The effects of a batch are there: the moment to wake whoever works on them. Between [`handle`](Consumer::handle) and this,
    /// or [`undone`](Consumer::undone), no other batch is handled but by readers of other partitions. Both also come without
    /// `handle`, when nothing was new.
    fn committed(&self) {}

    /// What `handle` did is not there, or nobody knows yet whether it is: what it has put by for `committed` has to go.
    fn undone(&self) {}
}

/// What every consumer of one service instance needs.
pub struct Runtime {
    pub jetstream: Context,
    pub pool: PgPool,
    /// The same for the whole process: for transactions that follow one another.
    pub kept: Arc<Kept>,
    pub settings: Settings,
    /// Unique among the instances of the service.
    pub instance: String,
    /// Told after each commit, so that the relay need not wait for its next look.
    pub outbox_written: Arc<Notify>,
    pub counters: Counters,
    /// The same for all consumers of the process, and held while an event under suspicion is tried (see
    /// `alone.rs`).
    pub suspicion: Arc<Mutex<()>>,
    pub stop: CancellationToken,
}

impl Runtime {
    pub(crate) fn committed(&self, consumer: &'static str, handled: usize, duplicates: usize) {
        self.outbox_written.notify_one();
        self.counters.handled.fetch_add(handled as u64, Ordering::Relaxed);
        metrics::counter!("consumer_events_total", "consumer" => consumer).increment(handled as u64);
        self.skipped(consumer, duplicates);
    }

    pub(crate) fn skipped(&self, consumer: &'static str, duplicates: usize) {
        self.counters.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
        metrics::counter!("consumer_duplicates_total", "consumer" => consumer).increment(duplicates as u64);
    }
}

/// Runs until `runtime.stop`. An error means that the broker's definitions contradict ours.
pub async fn run<C: Consumer>(runtime: Arc<Runtime>, consumer: C) -> Result<(), SetupError> {
    let consumer = Arc::new(consumer);
    figures::consumer_starts(C::SPEC.name);
    let heartbeat = tokio::spawn(instances::heartbeat(Arc::clone(&runtime), C::SPEC.name));
    let result = if C::SPEC.partitioned {
        partitions::read_my_share(Arc::clone(&runtime), consumer).await
    } else {
        let stop = runtime.stop.clone();
        Reader::new(runtime, consumer, None, stop).run().await
    };
    if result.is_err() {
        heartbeat.abort();
    }
    let _ = heartbeat.await;
    result
}

/// Reads one durable: the whole consumer, or one partition of it.
pub struct Reader<C> {
    pub(crate) settler: Settler,
    pub(crate) consumer: Arc<C>,
    pub(crate) partition: Option<u32>,
    /// Batches go through claim and handler hand over hand: while one is handled, the next is claimed. So they stay in the order
    /// of the stream, and the rows of one are committed before the next looks for them.
    pub(crate) claiming: Mutex<()>,
    pub(crate) handling: Mutex<()>,
    /// Set when another instance has taken the partition: what is in hand is its business now.
    lost: AtomicBool,
}

impl<C: Consumer> Reader<C> {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        consumer: Arc<C>,
        partition: Option<u32>,
        stop: CancellationToken,
    ) -> Reader<C> {
        let settler = Settler { runtime, spec: C::SPEC, stop };
        Reader {
            settler,
            consumer,
            partition,
            claiming: Mutex::default(),
            handling: Mutex::default(),
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lose_lease(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.settler.stop.cancel();
    }

    /// Reads until told to stop; after any trouble with the broker it starts over with a new pull.
    pub(crate) async fn run(&self) -> Result<(), SetupError> {
        let Settler { runtime, spec, stop } = &self.settler;
        let durable = spec.durable(self.partition);
        tokio::select! {
            ended = streams::until_stopped(stop, &runtime.settings, spec, || self.read()) => ended,
            never = position::keep(&runtime.jetstream, &runtime.pool, spec, &durable) => never,
        }
    }

    async fn read(&self) -> Result<(), SetupError> {
        let stop = &self.settler.stop;
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            opened = self.open() => opened?,
        };
        let (mut arrivals, mut succession) = opened;
        let mut under_way = FuturesUnordered::new();
        let (mut rests_until, mut at_once) = (Instant::now(), 1);
        loop {
            let rests = Instant::now() < rests_until;
            let wanted = match under_way.len() {
                0 if !rests => Wanted::Any,
                n if n < at_once => Wanted::Full,
                _ => Wanted::Nothing,
            };
            let mut batch = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = under_way.next() => continue,
                batch = arrivals.next_batch(wanted) => batch?,
                () = sleep_until(rests_until), if rests => continue,
            };
            rests_until = Instant::now() + self.pace(batch.len());
            let followed = succession.follow(&mut batch);
            let mut sorted = Sorted::new(batch, &succession);
            if self.partition.is_some() {
                sorted.keep_order();
            }
            // What follows one another in a partition stays so, and what is under suspicion is tried with nothing beside it.
            let alone = self.partition.is_some() || !sorted.suspects.is_empty();
            if alone {
                while under_way.next().await.is_some() {}
            }
            at_once = if alone { 1 } else { 2 };
            under_way.push(self.settle(sorted));
            if followed.is_err() {
                under_way.next().await;
                return followed;
            }
        }
        // What follows one another in a partition stays so; else others first get what they can begin with.
        if self.partition.is_some() {
            while under_way.next().await.is_some() {}
        }
        if !self.is_lost() {
            arrivals.hand_back().await;
        }
        while under_way.next().await.is_some() {}
        Ok(())
    }

    /// A partition has a part of the events, and more time.
    fn pace(&self, events: usize) -> Duration {
        match self.partition {
            _ if events == self.settler.runtime.settings.batch => Duration::ZERO,
            Some(_) => 4 * C::PACE,
            None => C::PACE,
        }
    }

    /// Starts pulling, as the successor of whoever read before.
    async fn open(&self) -> Result<(Arrivals<C::Message>, Succession), SetupError> {
        let Settler { runtime, spec, .. } = &self.settler;
        let mut durable = streams::ensure_consumer(runtime, spec, self.partition).await?;
        let succession = match self.partition {
            Some(_) => Succession::of_partition(&mut durable).await?,
            None => Succession::shared(),
        };
        // Eight partitions share the machine, and what is read after the next batch waits longest there.
        let batch = runtime.settings.batch;
        let ahead = self.partition.map_or(batch, |_| batch.div_ceil(8));
        Ok((Arrivals::open(&durable, &runtime.settings, ahead).await?, succession))
    }

    /// Sees each of them settled.
    async fn settle(&self, Sorted { new, suspects, unreadable }: Sorted<C::Message>) {
        let in_hand = new.iter().chain(&suspects).map(|hand| &hand.delivery);
        let in_hand: Vec<_> = in_hand.chain(unreadable.iter().map(|(delivery, _)| delivery)).collect();
        self.settler.count_redelivered(in_hand.iter().copied());
        let work = async {
            // Suspects are older: in a partition it is their turn first. They are rare, and on the heap their many steps
            // do not add to the state that every batch carries.
            if !suspects.is_empty() {
                Box::pin(self.process_suspects(&suspects)).await;
            }
            if self.is_lost() {
                return;
            }
            self.process(&new).await;
            for (delivery, reason) in &unreadable {
                self.settler.bury(delivery, None, Cause::Unreadable, reason, 1).await;
            }
        };
        tokio::select! {
            () = work => {}
            never = keep_in_hand(in_hand, self.settler.runtime.settings.ack_wait) => never,
        }
    }
}

/// What came.
struct Sorted<M> {
    new: Vec<Hand<M>>,
    suspects: Vec<Hand<M>>,
    /// And why.
    unreadable: Vec<(Delivery, String)>,
}

impl<M> Sorted<M> {
    fn new(batch: Vec<Arrival<M>>, succession: &Succession) -> Sorted<M> {
        let (mut new, mut suspects, mut unreadable) =
            (Vec::with_capacity(batch.len()), Vec::new(), Vec::new());
        for Arrival { delivery, message } in batch {
            match message {
                Err(reason) => unreadable.push((delivery, reason)),
                Ok(message) if succession.is_suspect(&delivery) => {
                    suspects.push(Hand { delivery, message });
                }
                Ok(message) => new.push(Hand { delivery, message }),
            }
        }
        // What came again while it waited here is settled by its last delivery.
        suspects.sort_by_key(|hand| (hand.delivery.sequence, Reverse(hand.delivery.number)));
        suspects.dedup_by_key(|hand| hand.delivery.sequence);
        let came_again = |hand: &Hand<M>| {
            suspects
                .binary_search_by_key(&hand.delivery.sequence, |suspect| suspect.delivery.sequence)
                .is_ok()
        };
        new.retain(|hand| !came_again(hand));
        Sorted { new, suspects, unreadable }
    }

    /// Suspects have their turn first, and with them all that is older.
    fn keep_order(&mut self) {
        let Some(last) = self.suspects.last().map(|hand| hand.delivery.sequence) else { return };
        self.suspects.extend(self.new.extract_if(.., |hand| hand.delivery.sequence < last));
        self.suspects.sort_by_key(|hand| hand.delivery.sequence);
    }
}
