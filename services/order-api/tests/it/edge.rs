//! Clients that are slow, many or insistent get their share and no more.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use testing::{STAFF_TOKEN, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::shop::{Shop, latte, problem};

const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A client that speaks HTTP as it likes.
async fn connect(shop: &Shop, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that what it does not read is soon the server's to keep.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind((from, 0).into()).unwrap();
    let server = shop.api.url().strip_prefix("http://").unwrap().parse().unwrap();
    socket.connect(server).await.unwrap()
}

fn client(address: Ipv4Addr) -> reqwest::Client {
    reqwest::Client::builder().local_address(IpAddr::V4(address)).build().unwrap()
}

/// Everything until the server ends the connection.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    // A reset is an end too.
    let _ = read.expect("the server ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_dribbles_in_is_cut_off_while_others_are_served() {
    let shop = Shop::with(&[("HTTP_HEAD_SECONDS", "1")]).await;
    for before in ["", "GET /menu HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = connect(&shop, Ipv4Addr::LOCALHOST).await;
        stream.write_all(before.as_bytes()).await.unwrap();
        if !before.is_empty() {
            let mut some = [0; 1_024];
            assert!(stream.read(&mut some).await.unwrap() > 0);
        }
        let start = Instant::now();
        let (mut reading, mut writing) = stream.into_split();
        let dribbling = tokio::spawn(async move {
            let _ = writing.write_all(b"GET /menu HTTP/1.1\r\n").await;
            while writing.write_all(b"x: y\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut rest = Vec::new();
        let cut = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut rest));
        let order = latte("c");
        let (cut, _) = tokio::join!(cut, shop.place(&order));
        let _ = cut.expect("the connection is cut");
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
        dribbling.await.unwrap();
    }
    let cut = shop.metric(r#"http_connections_cut_total{why="slow head"}"#).await;
    assert_eq!(cut.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_408_and_nothing_is_stored() {
    let shop = Shop::with(&[("HTTP_BODY_SECONDS", "1")]).await;
    let mut stream = connect(&shop, Ipv4Addr::LOCALHOST).await;
    let head =
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("application/problem+json"), "{answer}");
    assert_eq!(shop.orders().await, 0);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_the_end() {
    let shop = Shop::with(&[("HTTP_IDLE_SECONDS", "1")]).await;
    let mut stream = connect(&shop, Ipv4Addr::LOCALHOST).await;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("live"));
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_cut_off() {
    let shop = Shop::with(&[("HTTP_STALL_SECONDS", "1")]).await;
    let mut stream = connect(&shop, Ipv4Addr::LOCALHOST).await;
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("it is cut off", async || {
        let cut = shop.metric(r#"http_connections_cut_total{why="slow reader"}"#).await;
        (cut.as_deref() == Some("1")).then_some(())
    })
    .await;
    shop.place(&latte("c")).await;
}

#[tokio::test]
async fn too_long_a_head_is_refused() {
    let shop = Shop::open().await;
    let long = format!("x: {}\r\n", "y".repeat(20_000));
    let many: String = (0..120).map(|n| format!("x-{n}: y\r\n")).collect();
    for headers in [long, many] {
        let mut stream = connect(&shop, Ipv4Addr::LOCALHOST).await;
        stream.write_all(format!("GET /menu HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn when_all_places_are_taken_a_health_check_has_its_turn() {
    let shop = Shop::with(&[("HTTP_CONNECTIONS", "8"), ("HTTP_HEAD_SECONDS", "2")]).await;
    let connections = (0..30).map(|_| connect(&shop, Ipv4Addr::LOCALHOST));
    let crowd = futures::future::join_all(connections).await;
    within(Duration::from_secs(20), "the health check is answered", async || {
        let answer = client(Ipv4Addr::LOCALHOST).get(shop.url("/health/ready")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    assert_eq!(shop.metric("http_connections_max").await.as_deref(), Some("8"));
    drop(crowd);
    shop.place(&latte("c")).await;
}

#[tokio::test]
async fn one_client_cannot_have_all_connections() {
    let shop = Shop::with(&[("HTTP_CONNECTIONS_PER_CLIENT", "2"), ("RATE_LIMIT_LOOPBACK", "true")]).await;
    let first = connect(&shop, ANOTHER).await;
    let second = connect(&shop, ANOTHER).await;
    eventually("a third one is closed", async || {
        let mut third = connect(&shop, ANOTHER).await;
        let read = tokio::time::timeout(Duration::from_millis(500), third.read(&mut [0])).await;
        matches!(read, Ok(Ok(0) | Err(_))).then_some(())
    })
    .await;
    shop.place(&latte("c")).await;
    drop((first, second));
    eventually("there is room again", async || {
        client(ANOTHER).get(shop.url("/menu")).send().await.ok().map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_the_process_from_stopping() {
    let mut shop = Shop::open().await;
    let silent = connect(&shop, Ipv4Addr::LOCALHOST).await;
    shop.place(&latte("c")).await;
    let start = Instant::now();
    shop.api.terminate().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(silent);
}

#[tokio::test]
async fn more_requests_than_there_are_places_for_are_refused_and_health_is_not() {
    let shop = Shop::with(&[("HTTP_REQUESTS", "1")]).await;
    let mut lock = shop.api.pool().begin().await.unwrap();
    sqlx::query("lock table orders in access exclusive mode").execute(&mut *lock).await.unwrap();
    // An order waits for the table all the while: when the database's time limit ends it, the next one.
    let order = latte("c");
    let waiting = async {
        loop {
            shop.post(&order).await;
        }
    };
    let crowded = async {
        let refused = eventually("a second request is refused", async || {
            let answer = shop.get("/menu").await;
            (answer.status() != 200).then_some(answer)
        })
        .await;
        assert!(refused.headers().contains_key("retry-after"));
        problem(refused, 503).await;
        assert_eq!(shop.get("/health/live").await.status(), 200);
        assert_eq!(shop.get("/metrics").await.status(), 200);
        lock.rollback().await.unwrap();
    };
    tokio::select! {
        () = waiting => {}
        () = crowded => {}
    }
    eventually("there is a place again", async || (shop.get("/menu").await.status() == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_client_that_asks_too_fast_is_told_to_wait_and_another_is_served() {
    let limits = [("RATE_LIMIT_PER_CLIENT", "1"), ("RATE_LIMIT_BURST", "3"), ("RATE_LIMIT_LOOPBACK", "true")];
    let shop = Shop::with(&limits).await;
    let insistent = client(ANOTHER);
    let post = async |client: &reqwest::Client| {
        client.post(shop.url("/orders")).json(&latte("c")).send().await.unwrap()
    };
    let start = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(post(&insistent).await);
    }
    let taken = answers.iter().filter(|answer| answer.status() == StatusCode::CREATED).count();
    assert!(taken >= 3 && taken <= 4 + start.elapsed().as_secs() as usize, "{taken}");
    let refused = answers.into_iter().find(|answer| answer.status() != StatusCode::CREATED).unwrap();
    let wait = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(
        refused.headers().contains_key("ratelimit") && refused.headers().contains_key("ratelimit-policy")
    );
    problem(refused, 429).await;
    assert_eq!(post(&shop.http).await.status(), StatusCode::CREATED);
    assert_eq!(insistent.get(shop.url("/menu")).send().await.unwrap().status(), StatusCode::OK);
    // What it was told is true.
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(post(&insistent).await.status(), StatusCode::CREATED);
    assert!(shop.metric(r#"http_refused_total{why="rate"}"#).await.is_some());
}

#[tokio::test]
async fn who_asks_too_fast_hears_it_before_anything_else() {
    let limits = [("RATE_LIMIT_PER_CLIENT", "1"), ("RATE_LIMIT_BURST", "1"), ("RATE_LIMIT_LOOPBACK", "true")];
    let shop = Shop::with(&limits).await;
    let not_json = async || client(ANOTHER).post(shop.url("/orders")).body("latte").send().await.unwrap();
    problem(not_json().await, 415).await;
    problem(not_json().await, 429).await;
    let events = shop.url("/orders/none/events");
    let follow = async || shop.http.get(&events).send().await.unwrap();
    problem(follow().await, 404).await;
    problem(follow().await, 429).await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_are_told_apart() {
    let limits =
        [("RATE_LIMIT_PER_CLIENT", "1"), ("RATE_LIMIT_BURST", "1"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let shop = Shop::with(&limits).await;
    let status = async |for_whom: &str| {
        let request = shop.http.post(shop.url("/orders")).header("X-Forwarded-For", for_whom);
        request.json(&latte("c")).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("192.0.2.1").await, 201);
    assert_eq!(status("198.51.100.7, 192.0.2.1").await, 429, "a header of its own invention does not help");
    assert_eq!(status("192.0.2.2").await, 201);
}

#[tokio::test]
async fn guessing_the_staff_token_is_refused_and_the_right_one_never() {
    let shop = Shop::open().await;
    let status = async |token: &str| {
        let request = shop.http.get(shop.url("/orders")).bearer_auth(token);
        request.send().await.unwrap()
    };
    for n in 0..10 {
        problem(status(&format!("guess-{n}")).await, 401).await;
    }
    let refused = eventually("guesses are refused", async || {
        let answer = status("one more").await;
        (answer.status() != 401).then_some(answer)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 429).await;
    assert_eq!(status(STAFF_TOKEN).await.status(), StatusCode::OK);
    // Who sends none does not guess.
    problem(shop.get("/orders").await, 401).await;
    assert!(shop.metric(r#"http_refused_total{why="wrong tokens"}"#).await.is_some());
}

#[tokio::test]
async fn a_customer_sees_an_order_by_its_id_and_in_no_other_way() {
    let shop = Shop::open().await;
    let id = shop.place(&latte("cust-456")).await;
    for path in
        ["/orders", "/orders/", "/orders?customerId=cust-456", "/orders?before=zzz", "/orders/cust-456"]
    {
        let answer = shop.get(path).await;
        assert!(matches!(answer.status().as_u16(), 401 | 404), "{path}: {}", answer.status());
        assert!(!answer.text().await.unwrap().contains(id.as_str()), "{path}");
    }
    // Neither does a part of the id, nor another case of it.
    for near in [&id.as_str()[..id.as_str().len() - 1], &id.as_str().to_uppercase(), "order-%25"] {
        problem(shop.get(&format!("/orders/{near}")).await, 404).await;
        problem(shop.get(&format!("/orders/{near}/events")).await, 404).await;
    }
    assert_eq!(shop.order(&id).await["customerId"], Value::from("cust-456"));
}
