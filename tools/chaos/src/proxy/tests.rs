#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Mode, Proxy};

const SOON: Duration = Duration::from_secs(5);
/// Long enough for anything that is going to arrive on loopback.
const A_WHILE: Duration = Duration::from_millis(150);

/// A proxy in front of a server that says everything twice, and what that server has heard.
async fn echo() -> (Proxy, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = Proxy::start().await.unwrap();
    proxy.point_at(listener.local_addr().unwrap());
    let (heard, hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    let _ = heard.send(buffer[..length].to_vec());
                    if socket.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (proxy, hears)
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

async fn say(client: &mut TcpStream, what: &str) {
    client.write_all(what.as_bytes()).await.unwrap();
}

async fn hear(client: &mut TcpStream) -> std::io::Result<String> {
    let mut buffer = [0; 1024];
    let length = timeout(SOON, client.read(&mut buffer)).await.expect("something arrives")?;
    Ok(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(A_WHILE, client.read_u8()).await.is_err()
}

async fn is_reset(client: &mut TcpStream) -> bool {
    matches!(hear(client).await, Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn what_is_said_passes_and_so_does_the_end() {
    let (proxy, _heard) = echo().await;
    let mut client = client(&proxy).await;
    say(&mut client, "hello").await;
    assert_eq!(hear(&mut client).await.unwrap(), "hello");
    client.shutdown().await.unwrap();
    assert_eq!(hear(&mut client).await.unwrap(), "");
}

#[tokio::test]
async fn a_cut_resets_open_and_new_connections_until_it_heals() {
    let (proxy, _heard) = echo().await;
    let mut open = client(&proxy).await;
    say(&mut open, "hello").await;
    assert_eq!(hear(&mut open).await.unwrap(), "hello");
    proxy.set(Mode::Cut);
    assert!(is_reset(&mut open).await);
    assert!(is_reset(&mut client(&proxy).await).await);
    proxy.set(Mode::Pass);
    let mut new = client(&proxy).await;
    say(&mut new, "again").await;
    assert_eq!(hear(&mut new).await.unwrap(), "again");
}

#[tokio::test]
async fn a_delay_is_paid_in_each_direction_and_keeps_the_order() {
    let (proxy, _heard) = echo().await;
    let mut client = client(&proxy).await;
    say(&mut client, "0").await;
    hear(&mut client).await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    let began = Instant::now();
    say(&mut client, "1").await;
    assert_eq!(hear(&mut client).await.unwrap(), "1");
    assert!(began.elapsed() >= Duration::from_millis(120));
    for digit in ["2", "3", "4"] {
        say(&mut client, digit).await;
    }
    proxy.set(Mode::Pass);
    let mut heard = String::new();
    while heard.len() < 3 {
        heard += &hear(&mut client).await.unwrap();
    }
    assert_eq!(heard, "234");
}

#[tokio::test]
async fn swallowed_answers_leave_the_request_done_and_break_the_connection_when_it_heals() {
    let (proxy, mut heard) = echo().await;
    let (mut loser, mut idle) = (client(&proxy).await, client(&proxy).await);
    say(&mut idle, "idle").await;
    assert_eq!(hear(&mut idle).await.unwrap(), "idle");
    heard.recv().await.unwrap();
    proxy.set(Mode::SwallowAnswers);
    say(&mut loser, "charge").await;
    assert_eq!(timeout(SOON, heard.recv()).await.unwrap().unwrap(), b"charge");
    assert!(is_silent(&mut loser).await);
    proxy.set(Mode::Pass);
    assert!(is_reset(&mut loser).await);
    say(&mut idle, "untouched").await;
    assert_eq!(hear(&mut idle).await.unwrap(), "untouched");
}

#[tokio::test]
async fn a_black_hole_moves_nothing_and_lets_it_go_when_it_heals() {
    let (proxy, mut heard) = echo().await;
    let mut open = client(&proxy).await;
    say(&mut open, "0").await;
    hear(&mut open).await.unwrap();
    heard.recv().await.unwrap();
    proxy.set(Mode::BlackHole);
    let mut new = client(&proxy).await;
    say(&mut open, "open").await;
    say(&mut new, "new").await;
    assert!(is_silent(&mut open).await && is_silent(&mut new).await);
    assert!(heard.try_recv().is_err());
    proxy.set(Mode::Pass);
    assert_eq!(hear(&mut open).await.unwrap(), "open");
    assert_eq!(hear(&mut new).await.unwrap(), "new");
}

#[tokio::test]
async fn a_target_that_is_away_looks_like_one_and_can_be_set_later() {
    let proxy = Proxy::start().await.unwrap();
    assert!(is_reset(&mut client(&proxy).await).await);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    proxy.point_at(listener.local_addr().unwrap());
    let _client = client(&proxy).await;
    timeout(SOON, listener.accept()).await.expect("a connection arrives").unwrap();
}

#[tokio::test]
async fn a_dropped_proxy_takes_its_connections_along() {
    let (proxy, _heard) = echo().await;
    let mut client = client(&proxy).await;
    say(&mut client, "hello").await;
    hear(&mut client).await.unwrap();
    let port = proxy.port();
    drop(proxy);
    assert!(matches!(hear(&mut client).await.as_deref(), Ok("") | Err(_)));
    is_closed(port).await;
}

async fn is_closed(port: u16) {
    let refused = async { while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {} };
    timeout(SOON, refused).await.expect("the port is closed");
}
