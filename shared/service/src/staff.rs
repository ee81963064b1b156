//! Staff rights: `Authorization: Bearer <token>`. A header cannot be sent by a foreign page on its own, so
//! no cookie, no cross-site request forgery.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::Problem;
use crate::clients::Clients;

#[derive(Args, Clone, Debug)]
pub struct StaffToken {
    /// Whoever sends it as a bearer token acts as staff.
    #[arg(long, env, hide_env_values = true, value_parser = not_empty)]
    pub staff_token: SecretString,
}

impl StaffToken {
    /// Compares in constant time, so that the answer's delay tells nothing about the token.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim_start_matches(' '));
        if sent.as_bytes().ct_eq(self.staff_token.expose_secret().as_bytes()).into() {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this needs staff rights: send the staff token as 'Authorization: Bearer <token>'",
        ))
    }
}

/// An empty one would be sent by everybody who sends none.
fn not_empty(token: &str) -> Result<SecretString, &'static str> {
    if token.is_empty() { Err("it is empty, so everybody would be staff") } else { Ok(token.into()) }
}

/// Whoever sends no token does not guess. A right one is never refused, however many wrong ones came from the same
/// address, because others may be behind it: so this spares the shop the noise and counts it, and what keeps guesses
/// from succeeding is the length of the token.
fn note_guess(request: &Request) -> Result<(), Problem> {
    match request.extensions().get::<Arc<Clients>>() {
        Some(clients) if request.headers().contains_key(header::AUTHORIZATION) => {
            clients.guess(request.headers(), request.extensions())
        }
        _ => Ok(()),
    }
}

/// Middleware for routes that only staff may use: `from_fn_with_state(token, staff::require)`.
pub async fn require(State(token): State<StaffToken>, request: Request, next: Next) -> Response {
    match token.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            if let Err(too_many) = note_guess(&request) {
                return too_many.into_response();
            }
            let mut response = problem.into_response();
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_either_case_and_the_token_as_it_is() {
        let token = StaffToken { staff_token: "Secret".to_owned().into() };
        let is_staff = |sent: &'static str| {
            let sent = header::HeaderValue::from_static(sent);
            token.check(&HeaderMap::from_iter([(header::AUTHORIZATION, sent)])).is_ok()
        };
        assert!(["Bearer Secret", "bearer Secret", "BEARER  Secret"].into_iter().all(is_staff));
        let others =
            ["Bearer secret", "Basic Secret", "BearerSecret", "Secret", "Bearer", "Bearer Secret x", ""];
        assert!(!others.into_iter().any(is_staff));
    }
}
