//! A shop with nothing but analytics, the life of an order as it hears of it, and a recomputation of its
//! figures from the facts.

use events::{
    Cents, CustomerId, Data, Event, Item, OrderCancelled, OrderConfirmed, OrderCreated, OrderId, OrderReady,
    PaymentCaptured, PaymentRefunded, StockReserved, TicketReady,
};
use serde_json::Value;
use testing::{Service, World};
use time::{Duration, OffsetDateTime};

pub async fn analytics(world: &World) -> Service {
    world.service("analytics", env!("CARGO_BIN_EXE_analytics")).start().await
}

/// One order of lattes at 4.50, and everything that can be said about it.
pub struct Order {
    id: OrderId,
    customer: CustomerId,
    lattes: u32,
}

impl Order {
    pub fn of_lattes(id: &str, lattes: u32) -> Order {
        Order {
            id: id.to_owned().try_into().unwrap(),
            customer: "cust-1".to_owned().try_into().unwrap(),
            lattes,
        }
    }

    fn total(&self) -> Cents {
        Cents(450) * self.lattes
    }

    fn event(&self, data: impl Into<Data>, second: i64) -> Event {
        let time = OffsetDateTime::UNIX_EPOCH + Duration::seconds(second);
        Event { time, ..Event::new(data, None) }
    }

    pub fn created(&self) -> Event {
        let item = Item { name: "Latte".to_owned(), sku: None, price: Cents(450), quantity: self.lattes };
        let (order_id, customer_id, total) = (self.id.clone(), self.customer.clone(), self.total());
        self.event(OrderCreated { order_id, customer_id, email: None, items: vec![item], total }, 0)
    }

    pub fn captured(&self) -> Event {
        let (order_id, amount, charge_id) = (self.id.clone(), self.total(), "ch-1".to_owned());
        self.event(PaymentCaptured { order_id, amount, charge_id }, 1)
    }

    pub fn reserved(&self) -> Event {
        self.event(StockReserved { order_id: self.id.clone() }, 1)
    }

    pub fn confirmed(&self) -> Event {
        self.event(OrderConfirmed { order_id: self.id.clone(), customer_id: self.customer.clone() }, 2)
    }

    pub fn ticket_ready(&self) -> Event {
        self.event(TicketReady { order_id: self.id.clone() }, 89)
    }

    pub fn ready(&self) -> Event {
        let (order_id, customer_id) = (self.id.clone(), self.customer.clone());
        self.event(OrderReady { order_id, customer_id, email: None }, 90)
    }

    pub fn cancelled(&self) -> Event {
        let (order_id, customer_id) = (self.id.clone(), self.customer.clone());
        let reason = "out of stock: Mocha".to_owned();
        self.event(OrderCancelled { order_id, customer_id, email: None, reason }, 3)
    }

    pub fn refunded(&self) -> Event {
        let (order_id, amount, charge_id) = (self.id.clone(), self.total(), "ch-1".to_owned());
        self.event(PaymentRefunded { order_id, amount, charge_id }, 4)
    }

    pub fn served(&self) -> Vec<Event> {
        vec![
            self.created(),
            self.captured(),
            self.reserved(),
            self.confirmed(),
            self.ticket_ready(),
            self.ready(),
        ]
    }

    pub fn called_off(&self) -> Vec<Event> {
        vec![self.created(), self.captured(), self.cancelled(), self.refunded()]
    }
}

pub async fn figures(analytics: &Service) -> Value {
    reqwest::get(format!("{}/figures", analytics.url())).await.unwrap().json().await.unwrap()
}

/// Whether the running sums equal a recomputation from the facts, in SQL instead of Rust.
pub async fn adds_up(analytics: &Service) -> bool {
    let totals =
        "select row (orders, confirmed, cancelled, ready, gross_cents, captured_cents, refunded_cents,
                              seconds_to_ready, timed)::text from totals";
    let recomputed = "select row (
            count(created_at), count(*) filter (where confirmed), count(*) filter (where cancelled),
            count(ready_at), coalesce(sum(total_cents) filter (where not cancelled), 0),
            sum(captured_cents), sum(refunded_cents),
            coalesce(sum(extract(epoch from ready_at - created_at)), 0)::double precision,
            count(ready_at - created_at))::text
        from order_facts";
    let wrong_items = "select count(*)::text from (
            select name, quantity, cents from item_totals where quantity <> 0) as kept
        full join (
            select item ->> 'name' as name, sum((item ->> 'quantity')::bigint) as quantity,
                   sum((item ->> 'quantity')::bigint * ((item ->> 'price')::numeric * 100)::bigint) as cents
            from order_facts, jsonb_array_elements(items) as item where not cancelled
            group by 1) as due using (name)
        where kept.quantity is distinct from due.quantity or kept.cents is distinct from due.cents";
    let pool = analytics.pool();
    let totals: String = sqlx::query_scalar(totals).fetch_one(pool).await.unwrap();
    let recomputed: String = sqlx::query_scalar(recomputed).fetch_one(pool).await.unwrap();
    let wrong_items: String = sqlx::query_scalar(wrong_items).fetch_one(pool).await.unwrap();
    if totals != recomputed {
        eprintln!("kept {totals}, recomputed {recomputed}");
    }
    totals == recomputed && wrong_items == "0"
}
