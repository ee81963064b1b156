//! Which traces somebody looks for: the query of Jaeger's search page. A trace is found if one of its spans is all
//! that was asked for.

use serde_json::Value;
use url::form_urlencoded;

use crate::jaeger;
use crate::store::{Kept, Store, Trace, TraceId};

const LIMIT: usize = 20;

#[derive(Debug, Default, PartialEq)]
pub struct Query {
    /// These, if any, and nothing else matters.
    pub ids: Vec<TraceId>,
    service: Option<String>,
    operation: Option<String>,
    tags: Vec<(String, String)>,
    /// In nanoseconds since 1970.
    start: Option<u64>,
    end: Option<u64>,
    /// In nanoseconds.
    shortest: Option<u64>,
    longest: Option<u64>,
    limit: Option<usize>,
}

impl Query {
    /// What is not known, such as `lookback`, which the page has turned into `start`, is passed over.
    pub fn parse(text: &str) -> Result<Query, String> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let wrong = |what: &str| format!("{name}={value}: {what}");
            let micros = || value.parse().map(|time: u64| time.saturating_mul(1000));
            match &*name {
                "" => {}
                "traceID" => query.ids.push(trace_id(&value).ok_or_else(|| wrong("this is no trace id"))?),
                _ if value.is_empty() => {}
                "service" => query.service = Some(value.into_owned()),
                "operation" => query.operation = Some(value.into_owned()),
                "tags" => query.tags.extend(tags(&value).ok_or_else(|| wrong("a JSON object of texts"))?),
                "tag" => {
                    let (key, value) = value.split_once(':').ok_or_else(|| wrong("say it as key:value"))?;
                    query.tags.push((key.to_owned(), value.to_owned()));
                }
                "start" => query.start = Some(micros().map_err(|_| wrong("microseconds since 1970"))?),
                "end" => query.end = Some(micros().map_err(|_| wrong("microseconds since 1970"))?),
                "minDuration" => {
                    query.shortest = Some(nanos(&value).ok_or_else(|| wrong("such as 1.2s or 100ms"))?)
                }
                "maxDuration" => {
                    query.longest = Some(nanos(&value).ok_or_else(|| wrong("such as 1.2s or 100ms"))?)
                }
                "limit" => query.limit = Some(value.parse().map_err(|_| wrong("a number"))?),
                _ => {}
            }
        }
        Ok(query)
    }

    /// The newest first.
    pub fn find<'a>(&'a self, store: &'a Store) -> Box<dyn Iterator<Item = (&'a TraceId, &'a Trace)> + 'a> {
        if !self.ids.is_empty() {
            return Box::new(self.ids.iter().filter_map(|id| Some((id, store.trace(id)?))));
        }
        let matches = |trace: &Trace| trace.spans().any(|kept| self.matches(kept));
        let found = store.newest().filter(move |(_, trace)| matches(trace));
        Box::new(found.take(self.limit.unwrap_or(LIMIT)))
    }

    /// What needs no decoding is asked first.
    fn matches(&self, kept: &Kept) -> bool {
        if self.service.as_ref().is_some_and(|service| *service != kept.source.service)
            || self.start.is_some_and(|start| kept.start < start)
            || self.end.is_some_and(|end| kept.start > end)
        {
            return false;
        }
        if self.operation.is_none()
            && self.tags.is_empty()
            && self.shortest.is_none()
            && self.longest.is_none()
        {
            return true;
        }
        let span = kept.span();
        if self.operation.as_ref().is_some_and(|operation| *operation != span.name)
            || self.shortest.is_some_and(|shortest| jaeger::duration(&span) < shortest)
            || self.longest.is_some_and(|longest| jaeger::duration(&span) > longest)
        {
            return false;
        }
        if self.tags.is_empty() {
            return true;
        }
        let mut all = jaeger::tags(&span);
        all.extend(kept.source.attributes.iter().map(jaeger::tag));
        self.tags
            .iter()
            .all(|(key, value)| all.iter().any(|tag| tag["key"] == **key && shown(&tag["value"]) == *value))
    }
}

/// 32 hex digits; leading zeros may be missing.
pub fn trace_id(text: &str) -> Option<TraceId> {
    let digits = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes))?
}

fn tags(text: &str) -> Option<Vec<(String, String)>> {
    match serde_json::from_str(text).ok()? {
        Value::Object(tags) => Some(tags.into_iter().map(|(key, value)| (key, shown(&value))).collect()),
        _ => None,
    }
}

/// As a person writes it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `1.2s`, `100ms`, `500us`: as Jaeger's page suggests.
fn nanos(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let factor = match &text[unit..] {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    let number: f64 = text[..unit].parse().ok()?;
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Limits;
    use crate::testing::{id, sent, span, text};

    fn store() -> Store {
        let mut store = Store::new(Limits::default());
        for trace in 1..=30 {
            let mut charge = span(trace, 2, 1, "POST charge");
            charge.attributes = vec![text("order.id", &format!("order-{trace}"))];
            store.add(sent("order-api", [span(trace, 1, 0, "POST /orders")]));
            store.add(sent("payment", [charge]));
        }
        let mut long = span(31, 1, 0, "GET /stock");
        long.end_time_unix_nano += 2_000_000_000;
        store.add(sent("inventory", [long]));
        store
    }

    fn found(query: &str) -> Vec<TraceId> {
        Query::parse(query).expect(query).find(&store()).map(|(id, _)| *id).collect()
    }

    #[test]
    fn a_trace_is_found_by_each_of_its_services_the_newest_first() {
        assert_eq!(found("service=order-api&limit=2&lookback=1h"), [id(30), id(29)]);
        assert_eq!(found("service=payment&limit=1"), [id(30)]);
        assert_eq!(found("service=payment").len(), LIMIT);
        assert!(found("service=nobody").is_empty());
    }

    #[test]
    fn a_trace_is_found_by_a_tag_of_one_span() {
        assert_eq!(found("service=payment&tags=%7B%22order.id%22%3A%22order-7%22%7D"), [id(7)]);
        assert_eq!(found("tag=order.id:order-7&tag=span.kind:internal"), [id(7)]);
        assert!(found("service=order-api&tag=order.id:order-7").is_empty(), "the tag is payment's");
    }

    #[test]
    fn a_trace_is_found_by_its_time_operation_and_duration() {
        assert_eq!(found("start=5000000&end=6000000"), [id(6), id(5)]);
        assert_eq!(found("operation=GET+%2Fstock"), [id(31)]);
        assert_eq!(found("minDuration=1.5s"), [id(31)]);
        assert_eq!(found("maxDuration=10ms&limit=1"), [id(30)]);
    }

    #[test]
    fn traces_are_found_by_their_ids() {
        assert_eq!(found("traceID=1&traceID=0000000000000000000000000000001f&traceID=ff"), [id(1), id(31)]);
    }

    #[test]
    fn a_question_that_makes_no_sense_says_what_would() {
        for (query, expected) in [
            ("traceID=xyz", "no trace id"),
            ("tags=order.id", "JSON object"),
            ("tag=order.id", "key:value"),
            ("minDuration=long", "1.2s"),
            ("limit=-1", "a number"),
            ("start=now", "microseconds"),
        ] {
            let error = Query::parse(query).expect_err(query);
            assert!(error.contains(expected), "{error}");
        }
    }
}
