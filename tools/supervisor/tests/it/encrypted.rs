//! A shop that speaks TLS with its broker.

use async_nats::ConnectOptions;

use crate::counter::Counter;
use crate::shop::{Shop, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_with_tls_settles_orders_and_speaks_in_plain_text_with_nobody() {
    let counter = Counter::open(&["--tls"]);
    let order = counter.order("ann").await;
    counter.wait_for_status(&order, "confirmed").await;
    counter.audit();

    let url = counter.env("OPERATOR_NATS_URL").to_owned();
    let (credentials, address) = url.strip_prefix("tls://").unwrap().split_once('@').unwrap();
    // A client that speaks no TLS says its password at once, and is not listened to.
    let (user, password) = credentials.split_once(':').unwrap();
    let words = format!(r#"CONNECT {{"user":"{user}","pass":"{password}","tls_required":false}}"#);
    let answer = crate::opening::talk(address, &format!("{words}\r\nPING\r\n"));
    assert!(answer.contains(r#""tls_required":true"#) && !answer.contains("PONG"), "{answer}");

    let options = || ConnectOptions::with_user_and_password(user.into(), password.into());
    let stranger = options().connect(&url).await.unwrap_err().to_string().to_lowercase();
    assert!(stranger.contains("certificate") || stranger.contains("tls"), "{stranger}");
    let ca = counter.env("NATS_CA").into();
    assert!(options().add_root_certificates(ca).connect(&url).await.is_ok());

    // What is closed opens again with the same certificate; what is open is not changed underway.
    let shop = &counter.shop;
    assert!(shop.close().status.success());
    shop.open(&["--tls", "--scale", "analytics=0"]);
    let order = counter.order("bob").await;
    counter.wait_for_status(&order, "confirmed").await;
}

#[test]
fn tls_is_chosen_when_a_shop_opens_with_all_of_its_files_or_none() {
    let shop = Shop::new();
    let output =
        shop.command(&["up", "--detach", "--tls"]).env("NATS_TLS_CERT", "/nowhere").output().unwrap();
    assert!(
        !output.status.success() && text(&output).contains("set all three, or none"),
        "{}",
        text(&output)
    );
    let files = ["NATS_TLS_CERT", "NATS_TLS_KEY", "NATS_TLS_CA"];
    let output =
        shop.command(&["up", "--detach", "--tls"]).envs(files.map(|f| (f, "/nowhere"))).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("NATS_TLS_CERT=/nowhere cannot be read"), "{said}");

    shop.open(&[]);
    let output = shop.command(&["up", "--tls"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("open without TLS"), "{}", text(&output));
}
