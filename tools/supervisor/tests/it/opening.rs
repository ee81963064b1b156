use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::shop::{SERVICES, Shop, is_running, text};

#[test]
fn an_open_shop_has_every_part_ready_and_says_where() {
    let shop = Shop::new();
    let said = shop.open(&[]);
    assert!(said.contains("The shop is open") && said.contains("curl"), "{said}");

    let env = shop.env();
    let mode = fs::metadata(shop.run_folder().join("env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for name in
        ["STAFF_TOKEN", "OPERATOR_NATS_URL", "OPERATOR_DATABASE_URL", "MAIL_DIR", "ORDER_API_DATABASE_URL"]
    {
        assert!(env.contains_key(name), "{name} in {env:?}");
    }
    for service in SERVICES {
        let answer = shop.ask(service).unwrap_or_else(|| panic!("{service} does not answer"));
        let broker = (service != "card-processor").then_some("NATS_URL");
        let all = ["INSTANCE", "DATABASE_URL", "CARD_PROCESSOR_URL", "SMTP_URL", "STAFF_TOKEN"];
        for name in all.into_iter().chain(broker) {
            assert!(answer.contains(&format!("{name:?}: ")), "{service} has no {name}");
        }
    }
    for folder in ["cur", "new", "tmp"] {
        assert!(shop.run_folder().join("mail").join(folder).is_dir());
    }
    assert_eq!(shop.pids().len(), SERVICES.len() + 3);
}

#[test]
fn what_no_order_waits_for_comes_last() {
    let shop = Shop::new();
    shop.open(&[]);
    let nice = |name: &str| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", shop.pids()[name])).unwrap();
        // Behind the name, which may have spaces in it; see proc_pid_stat(5).
        stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse::<i32>().unwrap()
    };
    let ours = nice("order-api");
    for (name, later) in [("payment", 0), ("postgres", 0), ("mailbox", 10), ("email", 10), ("analytics", 10)]
    {
        assert_eq!(nice(name), (ours + later).min(19), "{name}");
    }
}

#[test]
fn the_mailbox_keeps_mail() {
    let shop = Shop::new();
    shop.open(&[]);
    let env = shop.env();
    let address = |url: &str| url.rsplit(['/', '@']).next().unwrap().to_owned();

    let mail =
        "EHLO a\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: hi\r\n\r\nhi\r\n.\r\nQUIT\r\n";
    let answer = talk(&address(&env["SMTP_URL"]), mail);
    assert!(answer.contains("\r\n250 OK") && answer.contains("\r\n221 "), "{answer}");
    assert_eq!(fs::read_dir(shop.run_folder().join("mail/new")).unwrap().count(), 1);
}

/// Says everything at once and listens until the other side hangs up.
pub fn talk(address: &str, words: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(words.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_service_that_cannot_start_closes_the_shop_and_says_why() {
    let shop = Shop::new();
    shop.set_program("loyalty", "#!/bin/sh\necho the points are gone; exit 3\n");
    let output = shop.command(&["up", "--detach"]).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    for expected in ["loyalty died again and again (exit code 3)", "the points are gone", "logs/loyalty.log"]
    {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert!(shop.pids().is_empty(), "{:?}", shop.pids());
    assert!(!is_running(shop.supervisor()));
}

#[test]
fn a_shop_whose_programs_are_not_all_there_does_not_open_and_names_them() {
    let shop = Shop::new();
    for name in ["payment", "mailbox"] {
        shop.remove_program(name);
    }
    let output = shop.command(&["up", "--detach"]).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("no program for payment, mailbox in"), "{said}");
    assert!(said.contains("cargo build --release --bins"), "{said}");
}

#[test]
fn a_taken_port_that_was_asked_for_is_refused_before_anything_starts() {
    let shop = Shop::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let output = shop.command(&["up", "--detach"]).env("ORDER_API_PORT", &port).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(&format!("ORDER_API_PORT={port}")) && said.contains("(pid "), "{said}");
    assert!(shop.pids().is_empty() && !shop.run_folder().join("logs/nats.log").exists());
}

#[test]
fn a_wish_that_makes_no_sense_is_refused() {
    let shop = Shop::new();
    for (arguments, expected) in [
        (["up", "--scale", "paymant=2"], "no service or server \"paymant\""),
        (["up", "--scale", "payment=many"], "must be 0 to 20"),
        (["up", "--scale", "nats=0"], "is for an open shop: open it first"),
        (["up", "--via", "payment.nats=none"], "the port must be a number from 1 to 65535"),
        (["up", "--set", "payment.NATS_URL=x"], "NATS_URL is the supervisor's to set; see --via"),
    ] {
        let output = shop.command(&arguments).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(expected), "{}", text(&output));
    }
    let output = shop.command(&["up"]).env("BIND_ADDRESS", "home").output().unwrap();
    assert!(text(&output).contains("BIND_ADDRESS=home is not an IP address"), "{}", text(&output));
}
