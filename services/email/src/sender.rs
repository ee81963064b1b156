//! Sends one mail. At least once: between the SMTP server's answer and our note of it a process may die, and
//! then the mail goes out again, with the same Message-ID, and is counted. No transaction is open while the
//! server is spoken to.

use std::sync::Arc;
use std::time::Duration;

use events::topology::{self, ConsumerSpec};
use lettre::message::Mailbox;
use messaging::span::{KeyValue, Span, SpanKind};
use messaging::{Failure, Kept, Message, Received, Rejectable, Together, Worker, bounded, failpoint};
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

use crate::letter::Letter;
use crate::smtp::{Smtp, Undelivered};
use crate::store::{self, Begin, Record, Taken};
use crate::task::{Says, Task};

/// For how long noting a mail that was taken is begun again, if the database is away.
const NOTING: Duration = Duration::from_secs(15);
const BETWEEN_NOTES: Duration = Duration::from_millis(500);

pub struct Sender {
    pool: PgPool,
    smtp: Smtp,
    from: Mailbox,
    begin: Together<Begin>,
    record: Together<Record>,
}

impl Sender {
    pub fn new(pool: PgPool, kept: &Arc<Kept>, smtp: Smtp, from: Mailbox) -> Sender {
        let (begin, record) =
            (Together::new(Begin(Arc::clone(kept))), Together::new(Record(Arc::clone(kept))));
        Sender { pool, smtp, from, begin, record }
    }

    /// The mail is out, and would go out again if this failed.
    async fn note(&self, taken: Taken) -> Result<(), Failure> {
        let until = Instant::now() + NOTING;
        loop {
            match self.record.ask(taken.clone()).await {
                Err(Failure::Unavailable(_)) if Instant::now() < until => sleep(BETWEEN_NOTES).await,
                noted => return noted,
            }
        }
    }
}

/// The help text, and the zeros that counters begin with.
pub fn describe() {
    metrics::describe_counter!("mails_sent_total", "Mails the SMTP server has taken, by kind");
    for kind in Says::KINDS {
        metrics::counter!("mails_sent_total", "kind" => kind).increment(0);
    }
}

impl Worker for Sender {
    type Task = Task;

    const SPEC: &'static ConsumerSpec = &topology::EMAIL_WORKER;

    const TIMEOUT: Duration = Duration::from_secs(40);

    async fn work(&self, task: &Received<Task>) -> Result<(), Failure> {
        let letter = Letter::compose(&task.mail, &self.from).reject()?;
        // First, and without a word to the SMTP server: a broker that came back empty is given every task again.
        if !self.begin.ask(letter.message_id.clone()).await? {
            return Ok(());
        }
        let mut span = Span::start("SMTP send", SpanKind::Client, task.trace(), || {
            [
                KeyValue::new("order.id", task.mail.order_id.to_string()),
                KeyValue::new("mail.kind", task.mail.says.kind()),
            ]
        });
        if let Err(Undelivered { failure, perhaps_sent }) = self.smtp.send(&letter.message).await {
            span.fail(failure.to_string());
            if !perhaps_sent {
                bounded(store::take_back(&self.pool, &letter.message_id)).await?;
            }
            return Err(failure);
        }
        drop(span);
        failpoint::dies_at("mail-after-send");
        let taken = Taken {
            message_id: letter.message_id,
            order_id: task.mail.order_id.to_string(),
            kind: task.mail.says.kind(),
            recipient: letter.recipient.to_string(),
        };
        self.note(taken).await?;
        metrics::counter!("mails_sent_total", "kind" => task.mail.says.kind()).increment(1);
        tracing::info!(
            order = Message::order_id(&**task),
            trace = task.trace().trace_id(),
            kind = task.mail.says.kind(),
            "mail sent"
        );
        Ok(())
    }
}
