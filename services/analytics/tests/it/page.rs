//! The page of figures needs nothing but this service.

use testing::World;

use crate::support::{Order, analytics};

#[tokio::test]
async fn the_page_and_its_parts_come_from_here_and_may_load_nothing_from_elsewhere() {
    let world = World::start().await;
    let analytics = analytics(&world).await;
    let mut page = String::new();
    for (path, kind) in [("/", "text/html"), ("/figures.css", "text/css"), ("/figures.js", "text/javascript")]
    {
        let answer = reqwest::get(format!("{}{path}", analytics.url())).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'self'"), "{policy}");
        page += &answer.text().await.unwrap();
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[tokio::test]
async fn money_is_written_with_two_decimals() {
    let world = World::start().await;
    let analytics = analytics(&world).await;
    for event in Order::of_lattes("o-1", 1).served() {
        world.publish_event(&event).await;
    }
    world.settle(&analytics).await;
    let body = reqwest::get(format!("{}/figures", analytics.url())).await.unwrap().text().await.unwrap();
    assert!(body.contains(r#""revenue":4.50,"captured":4.50,"refunded":0.00"#), "{body}");
}
