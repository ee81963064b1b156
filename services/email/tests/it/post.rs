//! What these tests say to the email service, and how they read its mail.

use events::{Cents, Event, Item, OrderCancelled, OrderCreated, OrderReady};
use testing::{Mailbox, Service, World};

pub const BINARY: &str = env!("CARGO_BIN_EXE_email");

pub async fn open(world: &World, mailbox: &Mailbox) -> Service {
    world.service("email", BINARY).env("SMTP_URL", mailbox.smtp_url()).start().await
}

pub fn created(order_id: &str, email: Option<&str>) -> Event {
    let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(450), quantity: 2 };
    let data = OrderCreated {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: email.map(str::to_owned),
        items: vec![item],
        total: Cents(900),
    };
    Event::new(data, Some(1))
}

pub fn cancelled(order_id: &str) -> Event {
    let data = OrderCancelled {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: None,
        reason: "Latte is sold out".to_owned(),
    };
    Event::new(data, Some(2))
}

pub fn ready(order_id: &str) -> Event {
    let data = OrderReady {
        order_id: order_id.to_owned().try_into().unwrap(),
        customer_id: "cust-456".to_owned().try_into().unwrap(),
        email: None,
    };
    Event::new(data, Some(4))
}

/// The value of a header of a raw mail.
pub fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let line = mail.lines().find(|line| line.starts_with(&format!("{name}: ")));
    &line.unwrap_or_else(|| panic!("no {name} in\n{mail}"))[name.len() + 2..]
}

/// The Message-IDs of all mails, sorted.
pub fn message_ids(mailbox: &Mailbox) -> Vec<String> {
    let mut ids: Vec<_> = mailbox.mails().iter().map(|mail| header(mail, "Message-ID").to_owned()).collect();
    ids.sort();
    ids
}

/// Waits until every task is sent and written down.
pub async fn settle(world: &World, email: &Service, mails: i64) {
    testing::eventually(&format!("{mails} mails are sent"), async || {
        let sent = sqlx::query_scalar::<_, i64>("select count(*) from mails").fetch_one(email.pool());
        (sent.await.ok()? == mails).then_some(())
    })
    .await;
    world.settle(email).await;
}
