//! The `Idempotency-Key` of a request (draft-ietf-httpapi-idempotency-key-header-07): the same key and the
//! same order come to one order however often they are sent.
//!
//! The database decides, in the statement that stores the order, so that it holds across instances. What
//! lives here is reading the header, and knowing which keys this process is working on right now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use serde_json::json;
use service::Problem;
use sha2::{Digest, Sha256};

use crate::request::Request;

pub const HEADER: &str = "idempotency-key";
const MAX_BYTES: usize = 255;

/// The key, without the quotes of a structured field (RFC 8941), if there is one.
pub fn read(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut sent = headers.get_all(HEADER).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| unquote(text.trim()));
    let is_valid = |key: &String| {
        (1..=MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    match (key.filter(is_valid), sent.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key must be sent once and be 1 to 255 visible ASCII characters, bare, or quoted and then with \
             spaces too",
        )),
    }
}

fn unquote(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        return (!text.contains(['"', ' '])).then(|| text.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut key = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            plain => key.push(plain),
        }
    }
    Some(key)
}

/// Of the order as it was understood, so that spacing, spelling and the order of fields make no difference.
/// Prices are left out: they are ours, and a repetition is one even if they changed meanwhile.
fn fingerprint(request: &Request) -> [u8; 32] {
    let lines: Vec<_> = request.items.iter().map(|item| (&item.sku, item.quantity)).collect();
    Sha256::digest(json!([request.customer, request.email, lines]).to_string()).into()
}

/// The keys whose orders are being stored by this process.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<String>>>);

impl Running {
    /// `None` while the key is in use. Otherwise it is, until the [`Claim`] is dropped.
    pub fn claim(&self, key: String, request: &Request) -> Option<Claim> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_free.then(|| Claim { running: self.clone(), key, fingerprint: fingerprint(request) })
    }
}

/// A key in use. It goes with the order, not with the request: a client that hangs up may leave its order
/// under way.
pub struct Claim {
    running: Running,
    pub key: String,
    pub fingerprint: [u8; 32],
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().expect("a header value"));
        }
        read(&headers).map_err(|problem| problem.status)
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        assert_eq!(key(&[]), Ok(None));
        for same in ["8e03978e-40d5", "\"8e03978e-40d5\"", " \"8e03978e-40d5\" "] {
            assert_eq!(key(&[same]), Ok(Some("8e03978e-40d5".to_owned())));
        }
        assert_eq!(key(&[r#""a\"b\\c""#]), Ok(Some(r#"a"b\c"#.to_owned())));
        assert_eq!(key(&["\"order 42\""]), Ok(Some("order 42".to_owned())));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (long, longest) = ("k".repeat(256), "k".repeat(255));
        assert_eq!(key(&[&longest]), Ok(Some(longest.clone())));
        for bad in ["", "\"\"", "\"open", "a b", "a\"b", r#""a\b""#, "\"a\" \"b\"", "é", &long] {
            assert_eq!(key(&[bad]), Err(400), "{bad:?}");
        }
        assert_eq!(key(&["a", "a"]), Err(400));
    }

    #[test]
    fn a_running_key_is_refused_until_its_order_is_done() {
        let running = Running::default();
        let customer = "c-1".to_owned().try_into().expect("valid");
        let request = Request { customer, email: None, items: Vec::new() };
        let claim = || running.claim("k".to_owned(), &request);
        let first = claim().expect("free");
        assert!(claim().is_none());
        drop(first);
        assert!(claim().is_some());
    }
}
