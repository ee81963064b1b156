//! A mail as it goes over the wire: headers, and the same words twice, as plain text and as HTML.

use askama::Template;
use events::{Cents, Item};
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use crate::domain::{message_id, recipient};
use crate::task::{Mail, Says};

/// Columns of the plain receipt, narrow enough for a telephone.
const WIDTH: usize = 44;

#[derive(Template)]
#[template(path = "received.html")]
struct ReceivedHtml<'a> {
    order_id: &'a str,
    lines: &'a [Line],
    total: Cents,
}

#[derive(Template)]
#[template(path = "received.txt")]
struct ReceivedText<'a> {
    order_id: &'a str,
    lines: &'a [Line],
    total: Cents,
}

#[derive(Template)]
#[template(path = "cancelled.html")]
struct CancelledHtml<'a> {
    order_id: &'a str,
    reason: &'a str,
}

#[derive(Template)]
#[template(path = "cancelled.txt")]
struct CancelledText<'a> {
    order_id: &'a str,
    reason: &'a str,
}

#[derive(Template)]
#[template(path = "ready.html")]
struct ReadyHtml<'a> {
    order_id: &'a str,
}

#[derive(Template)]
#[template(path = "ready.txt")]
struct ReadyText<'a> {
    order_id: &'a str,
}

/// One line of a receipt.
struct Line {
    name: String,
    quantity: u32,
    price: Cents,
    amount: Cents,
}

/// A mail ready to be handed over.
pub struct Letter {
    pub message_id: String,
    pub recipient: Address,
    pub message: Message,
}

impl Letter {
    /// The error is the reason why this mail can never be sent.
    pub fn compose(mail: &Mail, from: &Mailbox) -> Result<Letter, String> {
        let recipient = recipient(mail.email.as_deref(), &mail.customer_id)?;
        let message_id = message_id(mail.says.kind(), &mail.order_id);
        let (text, html) = render(mail).map_err(|error| format!("cannot be written: {error}"))?;
        let envelope = Envelope::new(Some(from.email.clone()), vec![recipient.clone()])
            .map_err(|error| format!("has no envelope: {error}"))?;
        let message = Message::builder()
            // Said here, it need not be read from the headers.
            .envelope(envelope)
            .from(from.clone())
            .to(Mailbox::new(None, recipient.clone()))
            .subject(format!("{}: {}", subject(&mail.says), mail.order_id))
            .message_id(Some(message_id.clone()))
            // Keeps holiday replies away (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(MultiPart::alternative_plain_html(text, html))
            .map_err(|error| format!("cannot be put together: {error}"))?;
        Ok(Letter { message_id, recipient, message })
    }
}

fn subject(says: &Says) -> &'static str {
    match says {
        Says::Received { .. } => "We have your order",
        Says::Cancelled { .. } => "Your order was cancelled",
        Says::Ready => "Your order is ready",
    }
}

/// Plain text and HTML.
fn render(mail: &Mail) -> Result<(String, String), askama::Error> {
    let order_id = mail.order_id.as_str();
    Ok(match &mail.says {
        Says::Received { items, total } => {
            let lines: Vec<Line> = items.iter().map(Line::new).collect();
            let (lines, total) = (lines.as_slice(), *total);
            let text = ReceivedText { order_id, lines, total }.render()?;
            (text, ReceivedHtml { order_id, lines, total }.render()?)
        }
        Says::Cancelled { reason } => {
            (CancelledText { order_id, reason }.render()?, CancelledHtml { order_id, reason }.render()?)
        }
        Says::Ready => (ReadyText { order_id }.render()?, ReadyHtml { order_id }.render()?),
    })
}

impl Line {
    fn new(item: &Item) -> Line {
        Line {
            name: item.name.clone(),
            quantity: item.quantity,
            price: item.price,
            amount: item.price * item.quantity,
        }
    }

    fn row(&self) -> String {
        row(&format!("{:>3} x {}", self.quantity, self.name), self.amount)
    }
}

impl ReceivedText<'_> {
    fn rule(&self) -> String {
        "-".repeat(WIDTH)
    }

    fn total_row(&self) -> String {
        row("      Total", self.total)
    }
}

/// The amount at the right edge, or after the name when that is too long.
fn row(left: &str, amount: Cents) -> String {
    let amount = amount.to_string();
    let gap = WIDTH.saturating_sub(left.chars().count() + amount.len()).max(1);
    format!("{left}{}{amount}", " ".repeat(gap))
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
