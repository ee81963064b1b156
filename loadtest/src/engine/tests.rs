//! The proof that a stall is seen: a server that answers nothing for two seconds, once under an open load and
//! once under a closed loop, as most tools are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;

use super::client::Client;
use super::histogram::{Latencies, Percentiles};
use super::timeline::Timeline;
use super::{Answer, Limits, Outcome, Schedule, run};

const LENGTH: Duration = Duration::from_secs(6);
const STALL: std::ops::Range<Duration> = Duration::from_secs(2)..Duration::from_secs(4);

/// Answers at once, but for the two seconds in the middle of the test: who comes then is answered after them.
async fn stalling() -> SocketAddr {
    let opened = Instant::now();
    let answer = move || async move {
        let now = opened.elapsed();
        if STALL.contains(&now) {
            tokio::time::sleep(STALL.end - now).await;
        }
        StatusCode::CREATED
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
    address
}

async fn ask(client: &Client) -> Answer {
    match client.send(client.post("/", Bytes::new())).await {
        Ok(received) if received.status == StatusCode::CREATED => Answer::Accepted,
        Ok(received) => Answer::Refused(received.status.as_u16()),
        Err(why) => Answer::Failed(why),
    }
}

async fn open_load(limits: Limits) -> Outcome {
    let client = Client::new(&format!("http://{}", stalling().await)).expect("a URL");
    let send = move |_, _| {
        let client = client.clone();
        async move { ask(&client).await }
    };
    let schedule = Schedule { rate: 200.0, length: LENGTH };
    run(schedule, limits, Arc::new(Timeline::begin()), send).await.expect("it ran")
}

/// One customer after another, each waiting for the answer to the one before.
async fn closed_loop() -> Percentiles {
    let client = Client::new(&format!("http://{}", stalling().await)).expect("a URL");
    let (began, mut latencies) = (Instant::now(), Latencies::default());
    while began.elapsed() < LENGTH {
        let asked = Instant::now();
        ask(&client).await;
        latencies.record(asked.elapsed());
        // The pace the open load has.
        tokio::time::sleep(Duration::from_millis(5).saturating_sub(asked.elapsed())).await;
    }
    latencies.percentiles()
}

/// A third of the customers come during the stall and wait one second on average, so p95 is about 1.7 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_two_seconds_shows_in_p95_and_a_closed_loop_would_hide_it() {
    let (open, closed) = tokio::join!(open_load(Limits::default()), closed_loop());
    assert_eq!((open.accepted, open.due), (1_200, 1_200));
    assert!((1_400.0..2_500.0).contains(&open.latency.p95), "{:?}", open.latency);
    assert!(closed.p95 < 400.0 && closed.max > 1_500.0, "one of many: {closed:?}");
}

/// With eight places the others cannot even leave. What was measured from then on would look well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_place_counts() {
    let open = open_load(Limits { in_flight: 8, ..Limits::default() }).await;
    assert_eq!(open.accepted, 1_200);
    assert!(open.late > 300, "{open:?}");
    assert!(open.latency.p95 > 1_400.0, "{:?}", open.latency);
    assert!(open.service_time.p95 < 400.0, "the trap: {:?}", open.service_time);
}

#[tokio::test]
async fn who_cannot_leave_in_time_counts_as_lost() {
    let limits = Limits { in_flight: 8, patience: Duration::from_millis(500) };
    let open = open_load(limits).await;
    let lost: u64 = open.refused.values().sum();
    assert!((200..500).contains(&lost), "{open:?}");
    assert_eq!(lost + open.accepted, open.due);
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let client = Client::new("http://127.0.0.1:1").expect("a URL");
    assert_eq!(ask(&client).await, Answer::Failed("no connection"));
    assert!(Client::new("https://127.0.0.1").is_err());
}
