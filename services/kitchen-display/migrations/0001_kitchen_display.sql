-- One ticket for each order the kitchen has heard of. A row may exist before its OrderCreated was heard: it
-- keeps what the earlier arrivals said, and shows nowhere.
create table tickets (
    order_id text primary key,
    state text not null default 'pending'
        check (state in ('pending', 'waiting', 'started', 'ready', 'pulled')),
    confirmed boolean not null default false,
    cancelled boolean not null default false,
    -- From OrderCreated; null until it was heard.
    customer_id text,
    items jsonb,
    placed_at timestamptz,
    -- The trace of the order, so that what the barista does continues it.
    traceparent text,
    tracestate text,
    started_at timestamptz,
    ready_at timestamptz
);

-- The board reads the oldest live tickets several times a second, however many finished ones there are.
create index tickets_live on tickets (placed_at, order_id) where state in ('waiting', 'started');
