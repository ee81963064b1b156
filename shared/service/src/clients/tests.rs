use axum::http::HeaderMap;
use clap::Parser;

use super::*;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    edge: Edge,
}

fn clients(settings: &[&str]) -> Clients {
    let settings = Settings::parse_from([&["test"], settings].concat());
    Clients::new(&settings.edge)
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn forwarded(lines: &[&str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| (FORWARDED_FOR.parse().expect("a name"), line.parse().expect("a value")))
        .collect()
}

/// How many of `n` requests are taken.
fn taken(clients: &Clients, peer: &str, headers: &HeaderMap, n: usize) -> usize {
    let mut extensions = Extensions::new();
    extensions.insert(ConnectInfo(SocketAddr::new(ip(peer), 1_024)));
    (0..n).filter(|_| clients.admit(headers, &extensions).is_ok()).count()
}

#[test]
fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
    let clients = clients(&["--trusted-proxies", "10.0.0.0/8"]);
    let origin = |peer, lines: &[&str]| clients.origin(ip(peer), &forwarded(lines)).to_string();
    assert_eq!(origin("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    assert_eq!(origin("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    // A client's own invention stands left of what the proxies add.
    assert_eq!(origin("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
    assert_eq!(origin("10.0.0.1", &["203.0.113.9", "198.51.100.1:4711"]), "198.51.100.1");
    assert_eq!(origin("10.0.0.1", &["nonsense"]), "10.0.0.1");
    assert_eq!(origin("10.0.0.1", &[]), "10.0.0.1");
}

#[test]
fn each_client_has_its_own_share() {
    let clients = clients(&["--rate-limit-per-client", "1", "--rate-limit-burst", "3"]);
    let none = HeaderMap::new();
    assert_eq!(taken(&clients, "192.0.2.1", &none, 10), 3);
    assert_eq!(taken(&clients, "192.0.2.2", &none, 10), 3);
    assert_eq!(taken(&clients, "::ffff:192.0.2.2", &none, 10), 0, "the same, written in IPv6");
    assert_eq!(taken(&clients, "2001:db8::1", &none, 10), 3);
    assert_eq!(taken(&clients, "2001:db8::ffff:1", &none, 10), 0, "the same household");
    assert_eq!(taken(&clients, "2001:db8:0:1::1", &none, 10), 3);
}

#[test]
fn this_machine_is_limited_only_if_wished_or_if_it_speaks_for_others() {
    let strict = ["--rate-limit-per-client", "1", "--rate-limit-burst", "1"];
    let (none, some) = (HeaderMap::new(), forwarded(&["198.51.100.1"]));
    assert_eq!(taken(&clients(&strict), "127.0.0.1", &none, 10), 10);
    assert_eq!(taken(&clients(&strict), "::1", &none, 10), 10);
    assert_eq!(taken(&clients(&strict), "127.0.0.1", &some, 10), 1);
    let wished = clients(&[&strict[..], &["--rate-limit-loopback", "true"]].concat());
    assert_eq!(taken(&wished, "127.0.0.1", &none, 10), 1);
    let unlimited = clients(&["--rate-limit-per-client", "0"]);
    assert_eq!(taken(&unlimited, "192.0.2.1", &none, 1_000), 1_000);
}

#[test]
fn the_memory_does_not_grow_with_the_clients() {
    let clients = clients(&[]);
    for n in 0..200_000 {
        let _ = clients.wrong_tokens.take(IpAddr::V4(std::net::Ipv4Addr::from_bits(n)));
    }
    assert!(clients.wrong_tokens.limiter.len() <= 65_536);
}
