//! Tells clients apart, and gives each its share: of requests in a second, and of wrong staff tokens.
//!
//! A client is an address, or the first 64 bits of one in IPv6, where a household has them all. Addresses are not
//! kept: each falls, by a hash that nobody outside can foresee, into one of 65,536 buckets. So the memory is bounded
//! whoever comes, and the worst that happens is that a client shares its bucket with a stranger.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use crate::Problem;
use crate::edge::{Edge, Proxies};

/// Wrong staff tokens that a client may send at once, and the time after which it may send one more.
const WRONG_TOKENS: NonZeroU32 = NonZeroU32::new(10).expect("it is not 0");
const NEXT_WRONG_TOKEN: Duration = Duration::from_secs(6);

pub struct Clients {
    proxies: Proxies,
    loopback_too: bool,
    requests: Option<Buckets>,
    policy: HeaderValue,
    wrong_tokens: Buckets,
}

impl Clients {
    pub fn new(edge: &Edge) -> Clients {
        let burst = edge.rate_limit_burst.max(edge.rate_limit_per_client);
        let quota = NonZeroU32::new(edge.rate_limit_per_client)
            .zip(NonZeroU32::new(burst))
            .map(|(rate, burst)| Quota::per_second(rate).allow_burst(burst));
        let wrong_tokens =
            Quota::with_period(NEXT_WRONG_TOKEN).expect("it is not 0").allow_burst(WRONG_TOKENS);
        let policy = format!("\"client\";q={};w=1", edge.rate_limit_per_client);
        Clients {
            proxies: edge.trusted_proxies.clone(),
            loopback_too: edge.rate_limit_loopback,
            requests: quota.map(Buckets::new),
            policy: HeaderValue::from_str(&policy).expect("digits and quotes"),
            wrong_tokens: Buckets::new(wrong_tokens),
        }
    }

    /// Whether connections of this peer are counted against it: neither those of a proxy, which speaks for many,
    /// nor, unless wished, those from this very machine.
    pub fn counts(&self, peer: IpAddr) -> bool {
        !self.proxies.trust(peer) && (self.loopback_too || !peer.is_loopback())
    }

    /// One request more. `Err` is the time after which the next will be taken.
    fn admit(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Duration> {
        let (Some(requests), Some(peer)) = (&self.requests, peer(extensions)) else { return Ok(()) };
        // From this machine and for nobody else: a person who tries the shop, or a load test.
        let is_forwarded = headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
        if peer.is_loopback() && !is_forwarded && !self.loopback_too {
            return Ok(());
        }
        requests.take(self.origin(peer, headers))
    }

    /// One guess more at the staff token. `Err` when there were too many.
    pub fn guess(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Problem> {
        let Some(peer) = peer(extensions) else { return Ok(()) };
        self.wrong_tokens.take(self.origin(peer, headers)).map_err(|wait| {
            metrics::counter!("http_refused_total", "why" => "wrong tokens").increment(1);
            too_many(
                "too many wrong staff tokens came from your address; only the right one is answered",
                wait,
            )
        })
    }

    /// The address that the nearest proxy we do not trust, or the client itself, asked from. What stands further
    /// left in the header may be anybody's invention.
    fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut origin = peer;
        while self.proxies.trust(origin) {
            match hops.next().and_then(address) {
                Some(hop) => origin = hop,
                None => break,
            }
        }
        origin
    }
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Some proxies add the port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip().to_canonical())
}

/// What counts as one client: <https://www.rfc-editor.org/rfc/rfc6177> has whole networks given to a household.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn too_many(detail: &'static str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        .retry_after(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
}

/// For the routes that cost something: a handler that takes it has its clients limited.
pub struct Admitted;

impl<S: Sync> FromRequestParts<S> for Admitted {
    type Rejection = Response;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Admitted, Response> {
        let clients = request.extensions.get::<Arc<Clients>>().expect("http.rs puts it there");
        let Err(wait) = clients.admit(&request.headers, &request.extensions) else { return Ok(Admitted) };
        metrics::counter!("http_refused_total", "why" => "rate").increment(1);
        let problem = too_many("you ask faster than one client may; wait as long as Retry-After says", wait);
        let state = format!("\"client\";r=0;t={}", problem.retry_after.unwrap_or(1));
        let mut response = problem.into_response();
        // draft-ietf-httpapi-ratelimit-headers, as far as it has come.
        response.headers_mut().insert("ratelimit-policy", clients.policy.clone());
        let state = HeaderValue::from_str(&state).expect("digits and quotes");
        response.headers_mut().insert("ratelimit", state);
        Err(response)
    }
}

struct Buckets {
    limiter: DefaultKeyedRateLimiter<u16>,
    clock: DefaultClock,
    seed: RandomState,
}

impl Buckets {
    fn new(quota: Quota) -> Buckets {
        Buckets {
            limiter: DefaultKeyedRateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            seed: RandomState::new(),
        }
    }

    fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let [first, second, ..] = self.seed.hash_one(network(address)).to_ne_bytes();
        let bucket = u16::from_ne_bytes([first, second]);
        self.limiter.check_key(&bucket).map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests;
