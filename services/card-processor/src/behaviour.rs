//! How the processor behaves today. Staff can switch it while it runs, to show what the shop does about a
//! processor in trouble; it is kept in memory only, so a restart brings good behaviour back.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use service::problem::FieldError;
use uuid::Uuid;

use crate::fields::Fields;

const LONGEST_DELAY_MS: u64 = 10_000;

/// Rates are probabilities between 0 and 1, rolled for each request that is not a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behaviour {
    /// Between writing the ledger and answering, so that a caller who gives up early was charged all the
    /// same. A repetition is answered at once.
    pub delay_ms: u64,
    pub decline_rate: f64,
    /// Answers 500 before doing anything; also to repetitions.
    pub fail_rate: f64,
    /// Writes the ledger and then leaves the caller without an answer.
    pub timeout_after_success_rate: f64,
}

impl Behaviour {
    /// Fields that are left out take their harmless value.
    pub fn parse(json: &[u8]) -> Result<Behaviour, Vec<FieldError>> {
        let mut fields = Fields::parse(json)?;
        fields.refuse_others(&["delayMs", "declineRate", "failRate", "timeoutAfterSuccessRate"]);
        let behaviour = Behaviour {
            delay_ms: fields.whole_number("delayMs", LONGEST_DELAY_MS),
            decline_rate: fields.rate("declineRate"),
            fail_rate: fields.rate("failRate"),
            timeout_after_success_rate: fields.rate("timeoutAfterSuccessRate"),
        };
        fields.finish(behaviour)
    }
}

/// What shall happen to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fate {
    pub fails: bool,
    pub is_declined: bool,
    pub is_left_waiting: bool,
    pub delay: Duration,
}

/// The behaviour, shared by all requests.
#[derive(Clone)]
pub struct Switch(Arc<RwLock<Behaviour>>);

impl Switch {
    pub fn new(behaviour: Behaviour) -> Switch {
        Switch(Arc::new(RwLock::new(behaviour)))
    }

    pub fn get(&self) -> Behaviour {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, behaviour: Behaviour) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    pub fn roll(&self) -> Fate {
        let behaviour = self.get();
        // The first six bytes of a random UUID are all random (RFC 9562, section 5.4): three dice.
        let bytes = Uuid::new_v4().into_bytes();
        let die = |n: usize| f64::from(u16::from_be_bytes([bytes[n], bytes[n + 1]])) / 65_536.0;
        Fate {
            fails: die(0) < behaviour.fail_rate,
            is_declined: die(2) < behaviour.decline_rate,
            is_left_waiting: die(4) < behaviour.timeout_after_success_rate,
            delay: Duration::from_millis(behaviour.delay_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_named() {
        let json = br#"{"delayMs": -1, "declineRate": 1.5, "failRate": "often", "timeoutRate": 1}"#;
        let errors = Behaviour::parse(json).expect_err("bad");
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/timeoutRate", "/delayMs", "/declineRate", "/failRate"]);
    }

    #[test]
    fn what_is_left_out_is_harmless() {
        let behaviour = Behaviour::parse(br#"{"failRate": 0.5}"#).expect("valid");
        assert_eq!(behaviour, Behaviour { fail_rate: 0.5, ..Behaviour::default() });
    }

    #[test]
    fn certain_means_always_and_zero_means_never() {
        let switch = Switch::new(Behaviour { decline_rate: 1.0, ..Behaviour::default() });
        for _ in 0..1_000 {
            let fate = switch.roll();
            assert!(fate.is_declined && !fate.fails && !fate.is_left_waiting);
        }
    }
}
