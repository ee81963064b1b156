//! The SMTP server is away, refuses, or this service dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testing::{World, eventually};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::post::{BINARY, created, message_ids, open, settle};

/// What a server answers to EHLO.
const HELLO: &str = "250 test";
/// Of one that takes commands together (RFC 2920).
const HELLO_PIPELINING: &str = "250-test\r\n250 PIPELINING";

#[tokio::test]
async fn mails_wait_while_the_smtp_server_is_away() {
    let world = World::start().await;
    let mut mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    world.publish_event(&created("before", None)).await;
    settle(&world, &email, 1).await;

    mailbox.kill();
    for n in 0..40 {
        world.publish_event(&created(&format!("order-{n}"), None)).await;
    }
    // Longer than the attempts would last if they were counted.
    eventually("the service has knocked in vain many times", async || {
        (email.log().matches("takes no mail").count() > 100).then_some(())
    })
    .await;
    mailbox.start_again().await;
    settle(&world, &email, 41).await;

    assert!(world.dead_letters().await.is_empty());
    assert_eq!(mailbox.mails().len(), 41);
    let extra: i64 =
        sqlx::query_scalar("select sum(copies - 1) from mails").fetch_one(email.pool()).await.unwrap();
    assert_eq!(extra, 0);
}

#[tokio::test]
async fn a_killed_service_sends_every_mail_and_counts_every_copy() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let mut email = open(&world, &mailbox).await;
    for n in 0..200 {
        world.publish_event(&created(&format!("order-{n}"), None)).await;
    }
    for round in 1..=3 {
        eventually("some more mails are sent", async || (mailbox.mails().len() >= round * 40).then_some(()))
            .await;
        email.restart().await;
    }
    settle(&world, &email, 200).await;

    let mut received: BTreeMap<String, i32> = BTreeMap::new();
    message_ids(&mailbox).into_iter().for_each(|id| *received.entry(id).or_default() += 1);
    let counted: BTreeMap<String, i32> = sqlx::query_as("select message_id, copies from mails")
        .fetch_all(email.pool())
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(received.len(), 200);
    for (id, copies) in &received {
        assert!(copies <= &counted[id], "{id} came {copies} times, {} are counted", counted[id]);
    }
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_mail_goes_out_once_though_connections_to_the_database_break() {
    let world = World::start().await;
    let mailbox = world.mailbox().await;
    let email = open(&world, &mailbox).await;
    for n in 0..300 {
        world.publish_event(&created(&format!("order-{n}"), None)).await;
    }
    let breaking = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name like 'email%'";
    for round in 1..=8 {
        eventually("some more mails are sent", async || (mailbox.mails().len() >= round * 30).then_some(()))
            .await;
        sqlx::query(breaking).execute(email.pool()).await.unwrap();
    }
    settle(&world, &email, 300).await;
    assert_eq!(mailbox.mails().len(), 300);
}

#[tokio::test]
async fn a_mail_the_server_refuses_for_good_is_buried_and_the_rest_flows() {
    refused_for_good(HELLO).await;
    refused_for_good(HELLO_PIPELINING).await;
}

async fn refused_for_good(hello: &'static str) {
    let world = World::start().await;
    let (server, _) = refusing_server(hello, "refused", "550 5.1.1 no such mailbox").await;
    let email = world.service("email", BINARY).env("SMTP_URL", server).start().await;
    for customer in ["a", "refused", "b"] {
        world.publish_event(&created(customer, Some(&format!("{customer}@example.com")))).await;
    }
    settle(&world, &email, 2).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("no such mailbox"), "{}", letters[0].reason);
    assert_eq!(letters[0].attempts, 1);
}

#[tokio::test]
async fn a_mail_the_server_cannot_take_now_is_tried_again() {
    give_up_on(HELLO, "451 4.3.0 mailbox is busy").await;
}

/// Said by a server that closes, and by some about one mail (RFC 5321, section 4.2.3).
#[tokio::test]
async fn a_mail_that_the_server_hangs_up_on_keeps_no_other_waiting() {
    give_up_on(HELLO_PIPELINING, "421 4.7.0 mailbox is busy").await;
}

async fn give_up_on(hello: &'static str, refusal: &'static str) {
    let world = World::start().await;
    let (server, _) = refusing_server(hello, "busy", refusal).await;
    let email = world
        .service("email", BINARY)
        .env("SMTP_URL", server)
        .env("CONSUMER_MAX_ATTEMPTS", "3")
        .start()
        .await;
    for customer in ["busy", "a"] {
        world.publish_event(&created(customer, Some(&format!("{customer}@example.com")))).await;
    }
    settle(&world, &email, 1).await;
    let letters = world.dead_letters().await;
    assert_eq!((letters.len(), letters[0].attempts), (1, 3));
    assert!(letters[0].reason.contains("mailbox is busy"), "{}", letters[0].reason);
    let open: i64 =
        sqlx::query_scalar("select count(*) from handovers").fetch_one(email.pool()).await.unwrap();
    assert_eq!(open, 0, "a mail that was refused was not perhaps sent");
}

#[tokio::test]
async fn the_server_is_not_given_more_connections_than_it_allows() {
    let world = World::start().await;
    let (server, most) = refusing_server(HELLO, "nobody", "550").await;
    let email = world.service("email", BINARY).env("SMTP_URL", server).env("SMTP_CONNECTIONS", "3");
    let email = email.start().await;
    for n in 0..200 {
        world.publish_event(&created(&format!("order-{n}"), None)).await;
    }
    settle(&world, &email, 200).await;
    assert_eq!(most.load(Ordering::Relaxed), 3);
}

/// As postscreen does, which stands before many a Postfix (<https://www.postfix.org/POSTSCREEN_README.html>).
#[tokio::test]
async fn a_server_that_lets_strangers_wait_is_waited_for() {
    let world = World::start().await;
    let (server, _) = slow_server(Duration::from_secs(6), HELLO, "nobody", "550").await;
    let email = world.service("email", BINARY).env("SMTP_URL", server).start().await;
    world.publish_event(&created("order-1", None)).await;
    settle(&world, &email, 1).await;
}

/// Greets at once.
async fn refusing_server(
    hello: &'static str,
    who: &'static str,
    refusal: &'static str,
) -> (String, Arc<AtomicUsize>) {
    slow_server(Duration::ZERO, hello, who, refusal).await
}

/// An SMTP server that answers `refusal` to the recipient `who`, and takes every other mail; and how many connections
/// it had at the same time. Just enough of RFC 5321 for answers that no ordinary server gives on demand.
async fn slow_server(
    greets_after: Duration,
    hello: &'static str,
    who: &'static str,
    refusal: &'static str,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (open, most) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&most);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let open = Arc::clone(&open);
            counted.fetch_max(Arc::strong_count(&open) - 1, Ordering::Relaxed);
            tokio::spawn(async move {
                let _open = open;
                let (read, mut write) = connection.into_split();
                let mut lines = BufReader::new(read).lines();
                tokio::time::sleep(greets_after).await;
                write.write_all(b"220 test\r\n").await?;
                let mut in_data = false;
                while let Some(line) = lines.next_line().await? {
                    let answer = match line.as_str() {
                        "." if in_data => "250 taken",
                        _ if in_data => continue,
                        "DATA" => "354 go on",
                        line if line.starts_with("EHLO") => hello,
                        line if line.starts_with("RCPT") && line.contains(who) => refusal,
                        _ => "250 ok",
                    };
                    in_data = line == "DATA";
                    write.write_all(format!("{answer}\r\n").as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    (url, most)
}
