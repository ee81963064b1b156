//! All SQL that writes a past. Each chunk invents its orders once, in a temporary table that comes out
//! the same in every database, and every table of a service is then written from it with one statement.

use sqlx::{Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;

use crate::engine::orders::MenuItem;

/// Orders `from` to `until` of a past.
pub struct Chunk<'a> {
    pub from: i64,
    pub until: i64,
    /// Keeps the orders of two pasts apart.
    pub tag: &'a str,
    pub began_at: OffsetDateTime,
    pub menu: &'a [MenuItem],
}

/// A table, or what a consumer noted in its inbox.
pub enum Past {
    Orders,
    Timelines,
    Payments,
    Charges,
    Reservations,
    Stock,
    Mails,
    Awards,
    Balances,
    Tickets,
    Facts,
    Totals,
    ItemTotals,
    /// The consumer, and which events of an order it hears.
    Inbox(&'static str, &'static [&'static str]),
}

/// In the transaction of the whole past.
pub async fn prepare(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    tx.execute(
        "create temporary table past (order_id text, customer_id text, sku text, name text, cents bigint,
                                      items jsonb, placed_at timestamptz)
         on commit drop",
    )
    .await?;
    Ok(())
}

/// What the planner knows would otherwise be of the empty tables.
pub async fn analyze(db: &PgPool) -> Result<(), sqlx::Error> {
    db.execute("analyze").await?;
    Ok(())
}

impl Chunk<'_> {
    /// One order of one thing every tenth of a second, by a hundred thousand customers.
    pub async fn invent(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        tx.execute("truncate past").await?;
        sqlx::query(
            "insert into past
             select 'order-' || lpad(to_hex((extract(epoch from placed_at) * 1000)::bigint), 11, '0') || '-'
                             || md5($3 || n),
                    'cust-' || n % 100000, sku, name, cents,
                    jsonb_build_array(jsonb_build_object('name', name, 'sku', sku, 'quantity', 1,
                                                         'price', round(cents / 100.0, 2))),
                    placed_at
             from (select n, $4 + n * interval '100 milliseconds' as placed_at,
                          ($5::text[])[1 + n % cardinality($5)] as sku,
                          ($6::text[])[1 + n % cardinality($6)] as name,
                          ($7::bigint[])[1 + n % cardinality($7)] as cents
                   from generate_series($1::bigint, $2::bigint - 1) as n) as invented",
        )
        .bind(self.from)
        .bind(self.until)
        .bind(self.tag)
        .bind(self.began_at)
        .bind(self.menu.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>())
        .bind(self.menu.iter().map(|item| item.name.as_str()).collect::<Vec<_>>())
        .bind(self.menu.iter().map(MenuItem::cents).collect::<Vec<_>>())
        .execute(tx)
        .await?;
        Ok(())
    }
}

impl Past {
    pub async fn write(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        match self {
            Past::Inbox(consumer, kinds) => inbox(tx, consumer, kinds).await,
            table => {
                tx.execute(table.statement()).await?;
                Ok(())
            }
        }
    }

    fn statement(&self) -> &'static str {
        match self {
            Past::Orders => ORDERS,
            Past::Timelines => TIMELINES,
            Past::Payments => PAYMENTS,
            Past::Charges => CHARGES,
            Past::Reservations => RESERVATIONS,
            Past::Stock => STOCK,
            Past::Mails => MAILS,
            Past::Awards => AWARDS,
            Past::Balances => BALANCES,
            Past::Tickets => TICKETS,
            Past::Facts => FACTS,
            Past::Totals => TOTALS,
            Past::ItemTotals => ITEM_TOTALS,
            Past::Inbox(..) => "",
        }
    }
}

/// Ids like those of events: UUIDs that begin with the time, so that they fall into the index as real ones do.
async fn inbox(tx: &mut PgConnection, consumer: &str, kinds: &[&str]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into inbox (consumer, event_id, processed_at)
         select $1, left(time, 8) || '-' || right(time, 4) || '-7' || left(random, 3) || '-8'
                    || substr(random, 4, 3) || '-' || right(random, 12), placed_at
         from (select lpad(to_hex((extract(epoch from placed_at) * 1000)::bigint), 12, '0') as time,
                      md5(order_id || kind) as random, placed_at
               from past, unnest($2::text[]) as kind) as heard",
    )
    .bind(consumer)
    .bind(kinds)
    .execute(tx)
    .await?;
    Ok(())
}

const ORDERS: &str = "
    insert into orders (order_id, customer_id, items, total_cents, status, payment, stock, ticket, version,
                        traceparent, created_at, deadline_at, updated_at)
    select order_id, customer_id, items, cents, 'ready', 'captured', 'reserved', 'ready', 7,
           '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', placed_at,
           placed_at + interval '15 minutes', placed_at + interval '5 minutes'
    from past";

const TIMELINES: &str = "
    insert into order_timeline (order_id, version, at, what, status)
    select order_id, version, placed_at + version * interval '40 seconds', what, status
    from past, (values (2, 'StockReserved', 'received'), (3, 'PaymentCaptured', 'received'),
                       (4, 'OrderConfirmed', 'confirmed'), (5, 'TicketStarted', 'preparing'),
                       (6, 'TicketReady', 'preparing'), (7, 'OrderReady', 'ready'))
               as step (version, what, status)";

const PAYMENTS: &str = "
    insert into payments (order_id, customer_id, amount_cents, state, charge_id, attempts, traceparent,
                          created_at, updated_at)
    select order_id, customer_id, cents, 'captured', 'past-' || order_id, 1,
           '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', placed_at, placed_at
    from past";

const CHARGES: &str = "
    insert into charges (charge_id, idempotency_key, reference, customer, amount_cents, status, created_at)
    select 'past-' || order_id, 'past-' || order_id, order_id, customer_id, cents, 'captured', placed_at
    from past";

const RESERVATIONS: &str = "
    insert into reservations (order_id, state, lines)
    select order_id, 'reserved', jsonb_build_array(jsonb_build_object('sku', sku, 'quantity', 1)) from past";

const STOCK: &str = "
    update stock set available = available - sold.quantity
    from (select sku, count(*) as quantity from past group by sku) as sold where stock.sku = sold.sku";

const MAILS: &str = "
    insert into mails (message_id, order_id, kind, recipient, sent_at, copies)
    select '<' || kind || '.' || order_id || '@past>', order_id, kind, customer_id || '@example.com', placed_at, 1
    from past, unnest(array['received', 'ready']) as kind";

const AWARDS: &str = "
    insert into awards (order_id, customer_id, points, state, changed_at)
    select order_id, customer_id, cents / 100, 'awarded', placed_at from past";

const BALANCES: &str = "
    insert into balances (customer_id, points)
    select customer_id, sum(cents / 100) from past group by customer_id order by customer_id
    on conflict (customer_id) do update set points = balances.points + excluded.points";

const TICKETS: &str = "
    insert into tickets (order_id, state, confirmed, customer_id, items, placed_at, started_at, ready_at)
    select order_id, 'ready', true, customer_id, items, placed_at, placed_at + interval '200 seconds',
           placed_at + interval '240 seconds'
    from past";

/// Nothing captured: what was paid is known from the stream, which never held these orders, and the audit
/// compares with that.
const FACTS: &str = "
    insert into order_facts (order_id, total_cents, items, created_at, confirmed, ready_at)
    select order_id, cents, items, placed_at, true, placed_at + interval '240 seconds' from past";

const TOTALS: &str = "
    update totals set orders = totals.orders + past.orders, confirmed = confirmed + past.orders,
                      ready = ready + past.orders, gross_cents = gross_cents + past.cents,
                      timed = timed + past.orders, micros_to_ready = micros_to_ready + past.orders * 240000000
    from (select count(*) as orders, sum(cents)::bigint as cents from past) as past where id = 1";

const ITEM_TOTALS: &str = "
    insert into item_totals (name, quantity, cents)
    select name, count(*), sum(cents)::bigint from past group by name order by name
    on conflict (name) do update set quantity = item_totals.quantity + excluded.quantity,
                                     cents = item_totals.cents + excluded.cents";
