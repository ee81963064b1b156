//! The page itself, and how many may be open.

use futures::StreamExt;
use testing::World;

use crate::kitchen::{BINARY, open, page};

#[tokio::test]
async fn the_page_is_whole_and_may_run_nothing_but_its_own_script() {
    let world = World::start().await;
    let kitchen = open(&world).await;
    let get = async |path: &str| reqwest::get(format!("{}{path}", kitchen.url())).await.unwrap();

    let home = get("/").await;
    let policy = home.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"));
    let html = home.text().await.unwrap();
    let script = get("/board.js").await.text().await.unwrap();
    let assets = html.split('"').chain(script.split('"')).filter(|part| {
        part.starts_with('/') && [".js", ".css", ".svg"].iter().any(|end| part.ends_with(end))
    });
    let mut checked = 0;
    for asset in assets {
        assert_eq!(get(asset).await.status(), 200, "{asset}");
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
    for danger in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "https://"] {
        assert!(!html.contains(danger) && !script.contains(danger), "{danger}");
        assert!(!get("/ticket.js").await.text().await.unwrap().contains(danger), "{danger}");
    }
}

#[tokio::test]
async fn too_many_pages_are_refused_and_a_closed_one_makes_room() {
    let world = World::start().await;
    let kitchen = world.service("kitchen-display", BINARY).env("BOARD_MAX_PAGES", "2").start().await;
    let url = format!("{}/board/events", kitchen.url());
    let first = page(&kitchen).await;
    let _second = page(&kitchen).await;

    let refused = reqwest::get(&url).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));

    drop(first);
    testing::eventually("there is room for another page", async || {
        (reqwest::get(&url).await.unwrap().status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn open_pages_do_not_hold_up_the_end() {
    let world = World::start().await;
    let mut kitchen = open(&world).await;
    let _page = page(&kitchen).await;
    let asked = std::time::Instant::now();
    kitchen.terminate().await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(kitchen.log().contains("stopped"));
}

#[tokio::test]
async fn pages_are_told_while_the_database_is_away() {
    let world = World::with_own_postgres().await;
    let kitchen = open(&world).await;
    let answer = reqwest::get(format!("{}/board/events", kitchen.url())).await.unwrap();
    let mut chunks = answer.bytes_stream();
    let mut hear = async |word: &str| {
        let heard = async {
            while let Some(Ok(chunk)) = chunks.next().await {
                if std::str::from_utf8(&chunk).unwrap().contains(&format!("event: {word}\n")) {
                    return;
                }
            }
            panic!("the stream ended before {word}");
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), heard).await.expect("in time");
    };
    hear("board").await;
    world.kill_postgres();
    hear("away").await;
    world.start_postgres();
    hear("board").await;
}
