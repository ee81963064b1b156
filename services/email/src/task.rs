//! One mail to be sent, as it travels on the work queue. It carries everything the mail says, so that the
//! worker needs nothing but the task: no order is looked up, and none can have changed meanwhile.

use async_nats::HeaderMap;
use events::topology::EMAILS;
use events::{Cents, CustomerId, Data, Event, Item, OrderId};
use messaging::{Message, Outgoing, Received};
use serde::{Deserialize, Serialize};

/// The body of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    pub order_id: OrderId,
    pub customer_id: CustomerId,
    /// Where to; without it the customer has an address at the demonstration's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub says: Says,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Says {
    Received { items: Vec<Item>, total: Cents },
    Cancelled { reason: String },
    Ready,
}

/// A task in hand.
#[derive(Debug)]
pub struct Task {
    id: String,
    pub mail: Mail,
}

impl Says {
    pub const KINDS: [&str; 3] = ["received", "cancelled", "ready"];

    /// In the queue's subject, the task's id, the Message-ID and the table of sent mails.
    pub const fn kind(&self) -> &'static str {
        match self {
            Says::Received { .. } => "received",
            Says::Cancelled { .. } => "cancelled",
            Says::Ready => "ready",
        }
    }

    const fn task_type(&self) -> &'static str {
        match self {
            Says::Received { .. } => "SendReceived",
            Says::Cancelled { .. } => "SendCancelled",
            Says::Ready => "SendReady",
        }
    }
}

impl Mail {
    /// The mail an event calls for, if it calls for one.
    pub fn about(event: &Event) -> Option<Mail> {
        let (order_id, customer_id, email, says) = match &event.data {
            Data::OrderCreated(order) => {
                let says = Says::Received { items: order.items.clone(), total: order.total };
                (&order.order_id, &order.customer_id, &order.email, says)
            }
            Data::OrderCancelled(order) => {
                let says = Says::Cancelled { reason: order.reason.clone() };
                (&order.order_id, &order.customer_id, &order.email, says)
            }
            Data::OrderReady(order) => (&order.order_id, &order.customer_id, &order.email, Says::Ready),
            _ => return None,
        };
        let (order_id, customer_id) = (order_id.clone(), customer_id.clone());
        Some(Mail { order_id, customer_id, email: email.clone(), says })
    }

    /// The same for every event that calls for the same mail, so that a second task is recognised.
    fn task_id(&self) -> String {
        format!("{}:{}", self.says.kind(), self.order_id)
    }
}

/// The task to put on the queue because of an event.
pub fn caused_by(event: &Received<Event>) -> Option<Outgoing> {
    let mail = Mail::about(event)?;
    Some(Outgoing {
        id: mail.task_id(),
        kind: mail.says.task_type(),
        order_id: mail.order_id.to_string(),
        subject: format!("{}.{}", EMAILS.prefix(), mail.says.kind()),
        occurred_at: event.time,
        trace: event.trace().clone(),
        body: serde_json::to_vec(&mail).expect("a mail has only string keys and finite numbers"),
    })
}

impl Message for Task {
    fn decode(_subject: &str, _headers: Option<&HeaderMap>, body: &[u8]) -> Result<Task, String> {
        let mail: Mail =
            serde_json::from_slice(body).map_err(|error| format!("not a mail to be sent: {error}"))?;
        Ok(Task { id: mail.task_id(), mail })
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn order_id(&self) -> &str {
        self.mail.order_id.as_str()
    }
}

#[cfg(test)]
mod tests {
    use events::{OrderCreated, OrderReady};
    use messaging::TraceContext;

    use super::*;

    fn received(data: impl Into<Data>) -> Received<Event> {
        Received::new(Event::new(data, None), TraceContext::from_parts(None, None))
    }

    #[test]
    fn an_order_becomes_a_task_that_survives_the_queue() {
        let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(450), quantity: 2 };
        let event = received(OrderCreated {
            order_id: "order-1".to_owned().try_into().expect("valid"),
            customer_id: "cust-1".to_owned().try_into().expect("valid"),
            email: Some("a@example.com".to_owned()),
            items: vec![item],
            total: Cents(900),
        });
        let task = caused_by(&event).expect("a task");
        assert_eq!((task.id.as_str(), task.subject.as_str()), ("received:order-1", "emails.received"));
        let read = Task::decode(&task.subject, None, &task.body).expect("valid");
        assert_eq!((read.id(), Some(&read.mail)), ("received:order-1", Mail::about(&event).as_ref()));
    }

    #[test]
    fn two_events_that_call_for_one_mail_make_one_task_id() {
        let ready = || {
            received(OrderReady {
                order_id: "order-1".to_owned().try_into().expect("valid"),
                customer_id: "cust-1".to_owned().try_into().expect("valid"),
                email: None,
            })
        };
        let ids = [ready(), ready()].map(|event| caused_by(&event).expect("a task").id);
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn what_is_not_a_mail_is_refused() {
        for body in [&b"{}"[..], b"not json", b"{\"orderId\":\"\",\"customerId\":\"c\",\"says\":\"ready\"}"] {
            assert!(Task::decode("emails.ready", None, body).is_err());
        }
    }
}
