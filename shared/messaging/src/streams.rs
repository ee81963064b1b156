//! Declares the streams and durable consumers of the [topology] on the broker. What
//! defines them must match what is there; what merely tunes them is brought up to date, and said. Then keeps
//! a pull on a consumer going, whatever happens to the connection.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull, pull::Stream as Pull};
use async_nats::jetstream::context::{ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use events::topology::{self, ConsumerSpec, KEEPS_STREAMS, Retention, STREAMS, ServiceSpec, StreamSpec};
use thiserror::Error;

use tokio_util::sync::CancellationToken;

use crate::settings::StreamSettings;
use crate::{Runtime, Settings, broker, position};

#[derive(Debug, Error)]
pub enum SetupError {
    /// A person has to decide; retrying cannot help.
    #[error("{0}")]
    Conflict(String),
    /// The broker is away or busy; trying again may help.
    #[error("the broker: {0}")]
    Broker(String),
}

impl SetupError {
    pub(crate) fn broker(error: impl std::fmt::Display) -> SetupError {
        SetupError::Broker(error.to_string())
    }
}

/// What a reader asks for at a time, at most, and what it decodes ahead: more than the largest message there may be.
pub const MOST_BYTES: usize = 1 << 20;

/// Messages as they come, fetched ahead by up to `ahead`. A short expiry and a heartbeat reveal a stalled
/// subscription within seconds: the stream then yields an error, and the caller starts a new one.
pub async fn pull(consumer: &PullConsumer, ahead: usize) -> Result<Pull, SetupError> {
    consumer
        .stream()
        .max_messages_per_batch(ahead)
        .max_bytes_per_batch(MOST_BYTES)
        .expires(Duration::from_secs(5))
        .heartbeat(Duration::from_secs(1))
        .messages()
        .await
        .map_err(SetupError::broker)
}

/// Starts `read` again, with a pause, whenever the broker interrupts it.
pub async fn until_stopped<F>(
    stop: &CancellationToken,
    settings: &Settings,
    spec: &ConsumerSpec,
    read: impl Fn() -> F,
) -> Result<(), SetupError>
where
    F: Future<Output = Result<(), SetupError>>,
{
    for attempt in 1_u32.. {
        match read().await {
            Ok(()) => break,
            Err(conflict @ SetupError::Conflict(_)) => return Err(conflict),
            Err(SetupError::Broker(error)) if stop.is_cancelled() => {
                tracing::debug!(consumer = spec.name, error, "stopped");
            }
            Err(SetupError::Broker(error)) => {
                tracing::warn!(consumer = spec.name, error, "reading was interrupted, starting again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(settings.outage_delay(attempt.min(5))) => {}
        }
    }
    Ok(())
}

/// The streams a service uses, for its start. One service declares all, and brings their limits to what is set.
pub async fn declare(js: &Context, service: &str, tuning: StreamSettings) -> Result<(), SetupError> {
    let keeps = service == KEEPS_STREAMS;
    for spec in if keeps { STREAMS.to_vec() } else { used_by(service) } {
        let stream = ensure_stream(js, spec, tuning).await?;
        if !keeps {
            continue;
        }
        let (is, wanted) = (&stream.cached_info().config, stream_config(spec, tuning));
        let tunable = |c: &Config| (c.max_age, c.max_bytes, c.max_message_size, c.num_replicas);
        if tunable(is) != tunable(&wanted) {
            tracing::warn!(stream = spec.name, from = ?tunable(is), to = ?tunable(&wanted),
                "updating the stream's limits (age, bytes, message bytes, replicas)");
            js.update_stream(wanted).await.map_err(SetupError::broker)?;
        }
    }
    Ok(())
}

/// A name that is not in the topology may use them all: a tool, or a test.
pub fn used_by(service: &str) -> Vec<&'static StreamSpec> {
    topology::service(service).map_or(STREAMS.to_vec(), ServiceSpec::streams)
}

/// Makes sure that the stream exists as declared and returns it. Its limits are an operator's to change
/// while the shop runs, so they are left as they are.
pub async fn ensure_stream(
    js: &Context,
    spec: &StreamSpec,
    tuning: StreamSettings,
) -> Result<Stream, SetupError> {
    broker::check_version(&js.client())?;
    let wanted = stream_config(spec, tuning);
    let stream = match js.get_stream(spec.name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => {
            return js.create_stream(wanted).await.map_err(SetupError::broker);
        }
        Err(error) => return Err(SetupError::broker(error)),
    };
    let is = &stream.cached_info().config;
    let mut is_subjects = is.subjects.clone();
    is_subjects.sort();
    refuse_difference(spec.name, "subjects", &is_subjects, &wanted.subjects)?;
    refuse_difference(spec.name, "retention", &is.retention, &wanted.retention)?;
    refuse_difference(spec.name, "storage", &is.storage, &wanted.storage)?;
    refuse_difference(spec.name, "discard", &is.discard, &wanted.discard)?;
    Ok(stream)
}

fn stream_config(spec: &StreamSpec, tuning: StreamSettings) -> Config {
    let mut subjects: Vec<String> = spec.subjects.iter().map(|&subject| subject.to_owned()).collect();
    subjects.sort();
    Config {
        name: spec.name.to_owned(),
        subjects,
        retention: match spec.retention {
            Retention::Limits => RetentionPolicy::Limits,
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
        },
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_age: spec.max_age,
        max_bytes: tuning.max_bytes.unwrap_or(spec.max_bytes),
        max_message_size: spec.max_message_bytes,
        num_replicas: tuning.replicas,
        allow_direct: true,
        ..Config::default()
    }
}

pub(crate) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn refuse_difference<T: PartialEq + std::fmt::Debug>(
    name: &str,
    field: &str,
    is: &T,
    wanted: &T,
) -> Result<(), SetupError> {
    if is == wanted {
        return Ok(());
    }
    Err(SetupError::Conflict(format!(
        "{name} exists on the broker with {field} {is:?}, but this service needs {wanted:?}. It was left as it \
         is: point NATS_URL at another broker, or remove it there if it is not needed"
    )))
}

/// Makes sure that a durable consumer exists as declared and returns it ready to be read.
pub async fn ensure_consumer(
    runtime: &Runtime,
    spec: &ConsumerSpec,
    partition: Option<u32>,
) -> Result<PullConsumer, SetupError> {
    let Runtime { jetstream, settings, pool, .. } = runtime;
    let stream = ensure_stream(jetstream, spec.stream, settings.streams).await?;
    let name = spec.durable(partition);
    let mut wanted = consumer_config(spec, partition, settings);
    let existing = match stream.consumer_info(&name).await {
        Ok(info) => info,
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            wanted.deliver_policy =
                position::resume(pool, &stream, &name).await.map_err(SetupError::broker)?;
            return stream.create_consumer(wanted).await.map_err(SetupError::broker);
        }
        Err(error) => return Err(SetupError::broker(error)),
    };
    let is = &existing.config;
    refuse_difference(&name, "ack policy", &is.ack_policy, &wanted.ack_policy)?;
    wanted.deliver_policy = is.deliver_policy;
    let mut is_filters = is.filter_subjects.clone();
    is_filters.extend((!is.filter_subject.is_empty()).then(|| is.filter_subject.clone()));
    is_filters.sort();
    if !is_filters.iter().all(|filter| wanted.filter_subjects.contains(filter)) {
        refuse_difference(&name, "filter subjects", &is_filters, &wanted.filter_subjects)?;
    }
    let tuned = is.ack_wait == wanted.ack_wait
        && is.max_ack_pending == wanted.max_ack_pending
        && is_filters == wanted.filter_subjects;
    if tuned {
        return stream.get_consumer(&name).await.map_err(SetupError::broker);
    }
    tracing::warn!(
        consumer = name,
        "updating ack wait, ack pending limit or added filters of the durable consumer"
    );
    stream.update_consumer(wanted).await.map_err(SetupError::broker)
}

fn consumer_config(spec: &ConsumerSpec, partition: Option<u32>, settings: &Settings) -> pull::Config {
    let mut filter_subjects = spec.filters(partition);
    filter_subjects.sort();
    pull::Config {
        durable_name: Some(spec.durable(partition)),
        filter_subjects,
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        // Attempts are counted by the runtime, which buries; the broker would silently drop.
        max_deliver: -1,
        max_ack_pending: (settings.batch * 8) as i64,
        num_replicas: settings.streams.replicas,
        ..pull::Config::default()
    }
}
