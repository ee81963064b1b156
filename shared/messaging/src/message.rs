//! A message as a handler sees it: decoded, valid, identified.

use std::iter;
use std::ops::Deref;
use std::sync::Arc;

use async_nats::{HeaderMap, HeaderName};
use events::{Event, topology};

use crate::TraceContext;

/// The header of a redriven message that says where it was published first, which its own subject does not.
pub(crate) const REDRIVEN_FROM: &str = "Redriven-From";

/// A type that travels in a stream.
pub trait Message: Sized + Send + Sync + 'static {
    /// Reads a message or says, for the dead letter, why it cannot be read.
    fn decode(subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> Result<Self, String>;

    /// The same for every delivery and every copy of it. At most 200 bytes, no control characters.
    fn id(&self) -> &str;

    /// For logs.
    fn order_id(&self) -> &str;
}

impl Message for Event {
    fn decode(subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> Result<Event, String> {
        check_spec_version(headers)?;
        let event = Event::decode(body).map_err(|invalid| invalid.to_string())?;
        let redriven_from = headers.and_then(|headers| headers.get(REDRIVEN_FROM)).map(|from| from.as_str());
        for subject in iter::once(subject).chain(redriven_from) {
            if let Some(promised) = topology::promised_type(subject)
                && promised != event.event_type()
            {
                return Err(format!(
                    "invalid: the subject {subject} carries {}, but the body says {}",
                    promised.as_str(),
                    event.event_type().as_str()
                ));
            }
        }
        Ok(event)
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn order_id(&self) -> &str {
        self.data.order_id().as_str()
    }
}

/// Binary-mode CloudEvents name their version; a message without the header is read as 1.0.
fn check_spec_version(headers: Option<&HeaderMap>) -> Result<(), String> {
    match headers.and_then(|headers| headers.get(HeaderName::from_static("ce-specversion"))) {
        Some(version) if version.as_str() != "1.0" => {
            Err(format!("unknown version: ce-specversion {:?}, this consumer reads 1.0", version.as_str()))
        }
        _ => Ok(()),
    }
}

/// A message and where it came from. Cloning it copies pointers.
#[derive(Debug)]
pub struct Received<M> {
    message: Arc<M>,
    trace: Arc<TraceContext>,
}

impl<M> Received<M> {
    pub fn new(message: M, trace: TraceContext) -> Received<M> {
        Received { message: Arc::new(message), trace: Arc::new(trace) }
    }

    /// The same message, at a later place of its trace.
    pub(crate) fn under(&self, trace: &TraceContext) -> Received<M> {
        Received { message: Arc::clone(&self.message), trace: Arc::new(trace.clone()) }
    }

    /// Pass it on to everything this message causes.
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }
}

impl<M> Clone for Received<M> {
    fn clone(&self) -> Received<M> {
        Received { message: Arc::clone(&self.message), trace: Arc::clone(&self.trace) }
    }
}

impl<M> Deref for Received<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.message
    }
}
