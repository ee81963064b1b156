//! Mails, as a mail library sends them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use lettre::Message;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;

use crate::mailbox::Mailbox;

const DOTTED: &str = "Dear Ann,\r\n.\r\n..\r\n.begins with a dot\r\n\r\nFin\r\n";

#[tokio::test]
async fn a_mail_is_kept_as_it_was_sent_for_the_owner_alone() {
    let mailbox = Mailbox::start();
    let mut sender = connect(&mailbox).await;
    for body in [DOTTED, "Ein Kännchen Kaffee ☕\r\n", "", "no end of a line"] {
        let message = mail("ann", body);
        sender.send(message.envelope(), &message.formatted()).await.unwrap();
        // lettre puts a line's end before the dot that ends every mail.
        let expected = String::from_utf8(message.formatted()).unwrap().replace("\r\n", "\n") + "\n";
        assert_eq!(String::from_utf8(mailbox.mails().pop().unwrap()).unwrap(), expected);
    }
    for file in fs::read_dir(mailbox.path("new")).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for part in ["", "tmp", "new", "cur"] {
        assert_eq!(mailbox.path(part).metadata().unwrap().permissions().mode() & 0o777, 0o700, "{part}");
    }
}

#[tokio::test]
async fn a_thousand_mails_over_eight_connections_are_all_kept_once() {
    let mailbox = Mailbox::start();
    let senders: Vec<_> = (0..8)
        .map(|sender| {
            let connection = connect(&mailbox);
            async move {
                let mut connection = connection.await;
                for number in 0..125 {
                    let message = mail(&format!("customer-{sender}-{number}"), DOTTED);
                    connection.send(message.envelope(), &message.formatted()).await.unwrap();
                }
            }
        })
        .map(tokio::spawn)
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mails = mailbox.mails();
    assert_eq!(mails.len(), 1000);
    assert_eq!(mails.into_iter().collect::<BTreeSet<_>>().len(), 1000);
}

fn connect(mailbox: &Mailbox) -> impl Future<Output = AsyncSmtpConnection> + use<> {
    let address = mailbox.address;
    async move {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let hello = ClientId::Domain("shop".to_owned());
        AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await.unwrap()
    }
}

fn mail(to: &str, body: &str) -> Message {
    Message::builder()
        .from("The coffee shop <shop@example.com>".parse().unwrap())
        .to(format!("{to}@example.com").parse().unwrap())
        .subject("Order received!")
        .body(body.to_owned())
        .unwrap()
}
