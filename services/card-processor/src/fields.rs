//! Reads the fields of a JSON body one by one, so that an answer can name every bad field and not only the
//! first one that a parser stumbles over.

use events::{Cents, check_text};
use serde::Deserialize;
use serde_json::{Map, Value};
use service::problem::FieldError;

pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub fn parse(json: &[u8]) -> Result<Fields, Vec<FieldError>> {
        let wrong = |detail: String| vec![FieldError { pointer: String::new(), detail }];
        match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => Ok(Fields { object, errors: Vec::new() }),
            Ok(_) => Err(wrong("the body has to be a JSON object".into())),
            Err(error) => Err(wrong(format!("the body is not JSON: {error}"))),
        }
    }

    /// For a body where a misspelt field would silently do nothing.
    pub fn refuse_others(&mut self, known: &[&str]) {
        let others = self.object.keys().filter(|name| !known.contains(&name.as_str())).cloned();
        for name in others.collect::<Vec<_>>() {
            self.wrong::<()>(&name, format!("there is no such field; there are {}", known.join(", ")));
        }
    }

    /// 1 to `max` bytes without control characters.
    pub fn text(&mut self, name: &str, max: usize) -> String {
        let text = match self.object.get(name).map(Value::as_str) {
            Some(Some(text)) => text.to_owned(),
            Some(None) => return self.wrong(name, "has to be a text".into()),
            None => return self.wrong(name, "is missing".into()),
        };
        match check_text(name, &text, max) {
            Ok(()) => text,
            Err(detail) => self.wrong(name, detail),
        }
    }

    pub fn amount(&mut self, name: &str) -> Cents {
        match self.object.get(name).map(Cents::deserialize) {
            Some(Ok(amount)) => amount,
            Some(Err(error)) => self.wrong(name, error.to_string()),
            None => self.wrong(name, "is missing".into()),
        }
    }

    /// 0 when it is missing.
    pub fn whole_number(&mut self, name: &str, max: u64) -> u64 {
        match self.object.get(name).map(Value::as_u64) {
            None => 0,
            Some(Some(number)) if number <= max => number,
            Some(_) => self.wrong(name, format!("has to be a whole number from 0 to {max}")),
        }
    }

    /// 0 when it is missing.
    pub fn rate(&mut self, name: &str) -> f64 {
        match self.object.get(name).map(Value::as_f64) {
            None => 0.0,
            Some(Some(rate)) if (0.0..=1.0).contains(&rate) => rate,
            Some(_) => self.wrong(name, "has to be a probability from 0 to 1".into()),
        }
    }

    pub fn finish<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.errors.is_empty() { Ok(value) } else { Err(self.errors) }
    }

    fn wrong<T: Default>(&mut self, name: &str, detail: String) -> T {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.errors.push(FieldError { pointer, detail });
        T::default()
    }
}
