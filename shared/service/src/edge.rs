//! How much of HTTP one service takes on, and how long it waits for whom. Without such bounds a few clients that
//! are slow, many or insistent have everything, and the others are not heard.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::{ArgAction, Args};
use ipnet::IpNet;

#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Edge {
    /// HTTP connections open at once. More wait, unanswered, in the kernel's queue until one closes.
    #[arg(long, env, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub http_connections: u32,

    /// Of these, how many one client may have; its next ones are closed at once. 0 means no limit.
    #[arg(long, env, default_value_t = 512)]
    pub http_connections_per_client: u32,

    /// Requests under way at once, health and metrics left out; more are answered 503.
    #[arg(long, env, default_value_t = 3_072, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub http_requests: u32,

    /// From its first byte, the head of a request has to be complete within this time.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub http_head_seconds: u64,

    /// And its body within this. A request as a whole has 15 s.
    #[arg(long, env, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=14))]
    pub http_body_seconds: u64,

    /// A connection without a request is kept open for this long. A proxy in front should give up sooner, or it
    /// sends a request into a connection that is being closed.
    #[arg(long, env, default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub http_idle_seconds: u64,

    /// A client that takes nothing of its answer for this long is cut off.
    #[arg(long, env, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub http_stall_seconds: u64,

    /// What one client may ask in a second of routes that cost something; more is answered 429. 0 means no limit.
    #[arg(long, env, default_value_t = 50)]
    pub rate_limit_per_client: u32,

    /// What a client that has been quiet may ask at once.
    #[arg(long, env, default_value_t = 100)]
    pub rate_limit_burst: u32,

    /// Whether clients on this very machine are limited too. Otherwise a load test may do what it likes.
    #[arg(long, env, action = ArgAction::Set, default_value_t = false)]
    pub rate_limit_loopback: bool,

    /// Addresses or networks, separated by commas, whose X-Forwarded-For is believed: the proxies in front.
    #[arg(long, env, default_value_t)]
    pub trusted_proxies: Proxies,
}

/// Nobody by default: whoever is believed can pretend to be any client.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(list: &str) -> Result<Proxies, String> {
        let network = |entry: &str| {
            let address = entry.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| entry.parse()).map_err(|_| {
                format!("{entry:?} is neither an address like 10.0.0.7 nor a network like 10.0.0.0/8")
            })
        };
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Result<_, _>>().map(Proxies)
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_by_address_or_network() {
        let proxies: Proxies = "10.0.0.0/8, 192.0.2.7,2001:db8::/32".parse().expect("a list");
        let trusted = |address: &str| proxies.trust(address.parse().expect("an address"));
        assert!(trusted("10.1.2.3") && trusted("192.0.2.7") && trusted("2001:db8::1"));
        assert!(!trusted("192.0.2.8") && !trusted("127.0.0.1"));
        assert!("".parse::<Proxies>().expect("nobody").0.is_empty());
        assert!("10.0.0.0/33".parse::<Proxies>().is_err());
        assert!("proxy.example".parse::<Proxies>().is_err());
    }
}
