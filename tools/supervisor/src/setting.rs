//! One more variable in the environment of a service's processes, or of all services: what somebody tunes
//! or breaks in one service and not in its neighbours.
//!
//! What the supervisor itself tells a service cannot be set: a service with another service's database
//! would break promises that are not its own.

use std::fmt;
use std::str::FromStr;

use crate::catalogue::{self, Part};
use crate::env_file::TOLD;

/// One `--set payment.NAME=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// All services if none.
    pub service: Option<Part>,
    pub name: String,
    /// None takes the setting back.
    pub value: Option<String>,
}

impl Setting {
    /// Whether both set the same variable of the same service.
    pub fn replaces(&self, other: &Self) -> bool {
        (self.service, &self.name) == (other.service, &other.name)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (variable, value) = match text.split_once('=') {
            Some((variable, value)) => (variable, Some(value)),
            None => (text, None),
        };
        let (service, name) = variable
            .split_once('.')
            .ok_or("say it as service.NAME=value or '*.NAME=value'; service.NAME alone takes it back")?;
        let service = if service == "*" { None } else { Some(catalogue::service(service)?) };
        if !is_variable(name) {
            return Err(format!("{name:?} is not a variable's name: letters, digits and _, no digit first"));
        }
        if let Some((_, instead)) = TOLD.iter().find(|(told, _)| *told == name) {
            return Err(format!("{name} is the supervisor's to set{instead}"));
        }
        if value.is_some_and(|value| value.contains(['\n', '\0'])) {
            return Err(format!("the value of {name} must be a single line"));
        }
        Ok(Self { service, name: name.to_owned(), value: value.map(str::to_owned) })
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service.map_or("*", |service| service.name), self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_said_is_said_again() {
        for text in ["payment.A=b", "*.LD_PRELOAD=/lib/a.so", "order-api.A=", "email._X9=a=b .c", "email.A"] {
            assert_eq!(text.parse::<Setting>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_setting_that_makes_no_sense_says_what_would() {
        for (text, part) in [
            ("A=b", "service.NAME=value"),
            ("paymant.A=b", "there is no service \"paymant\""),
            ("nats.A=b", "there is no service \"nats\""),
            ("payment.=b", "\"\" is not a variable's name"),
            ("payment.1A=b", "\"1A\" is not a variable's name"),
            ("payment.A B=b", "\"A B\" is not a variable's name"),
            ("payment.DATABASE_URL=x", "DATABASE_URL is the supervisor's to set; see --via"),
            ("*.HTTP_ADDR=x", "HTTP_ADDR is the supervisor's to set"),
            ("payment.NATS_URL", "NATS_URL is the supervisor's to set"),
            ("payment.A=b\nc", "a single line"),
        ] {
            let error = text.parse::<Setting>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
