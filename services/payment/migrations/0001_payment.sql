-- One row per order ever heard of, also of those cancelled before they were created. What is to be done for
-- it follows from its state; due_at says when, and keeps other instances away while one is at it.
create table payments (
    order_id text primary key,
    customer_id text not null,
    amount_cents bigint not null,
    state text not null check (state in ('due', 'cancelling', 'captured', 'declined', 'refund_due', 'refunded', 'cancelled')),
    charge_id text,
    -- A charge may have been made whose answer nobody has heard.
    uncertain boolean not null default false,
    -- Calls begun; tells the answer of an abandoned call from that of the latest.
    attempts integer not null default 0,
    due_at timestamptz,
    -- Of the event that made the work due.
    traceparent text not null,
    tracestate text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((due_at is not null) = (state in ('due', 'cancelling', 'refund_due')))
);
create index payments_due on payments (due_at) where due_at is not null;
