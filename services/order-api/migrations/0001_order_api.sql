-- Orders, what happened to each, and the keys that make placing one repeatable.

-- Ids begin with the time they were made, so that new orders fall into the same few pages of this index
-- however many are stored, and its order is the order of the list. They compare by bytes.
create table orders (
    order_id text collate "C" primary key,
    customer_id text not null,
    email text,
    items jsonb not null,
    total_cents bigint not null check (total_cents >= 0),
    status text not null default 'received'
        check (status in ('received', 'confirmed', 'preparing', 'ready', 'cancelled')),
    cancel_reason text,
    payment text not null default 'pending' check (payment in ('pending', 'captured', 'declined', 'refunded')),
    stock text not null default 'pending' check (stock in ('pending', 'reserved', 'rejected', 'released')),
    ticket text not null default 'none' check (ticket in ('none', 'started', 'ready')),
    version bigint not null default 1,
    -- W3C trace context of the request, for what happens without one.
    traceparent text not null,
    created_at timestamptz not null default now(),
    deadline_at timestamptz not null,
    updated_at timestamptz not null default now(),
    check ((status = 'cancelled') = (cancel_reason is not null))
);
-- For the sweeper. It holds only orders that are not settled yet, so it stays small.
create index orders_unsettled on orders (deadline_at) where status = 'received';

-- Every version of an order after the first, which is the order's own row. It is written only while that row
-- is locked, so a foreign key would check again, for every line, what is known.
create table order_timeline (
    order_id text collate "C" not null,
    version bigint not null,
    at timestamptz not null default now(),
    what text not null,
    status text not null,
    detail text,
    primary key (order_id, version)
);

-- draft-ietf-httpapi-idempotency-key-header. The primary key decides between instances.
create table idempotency_keys (
    key text collate "C" primary key,
    request_hash bytea not null,
    order_id text collate "C" not null,
    created_at timestamptz not null default now()
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
