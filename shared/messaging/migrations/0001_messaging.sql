-- What every service's database needs to take part in the stream.

-- Rows written in the transaction of the state change they tell of; the relay publishes them.
create table outbox (
    id bigint generated always as identity primary key,
    event_id text not null,
    event_type text not null,
    order_id text not null,
    subject text not null,
    occurred_at timestamptz not null,
    traceparent text,
    tracestate text,
    body bytea not null,
    created_at timestamptz not null default now(),
    published_at timestamptz,
    stream_sequence bigint
);
create index outbox_unpublished on outbox (id) where published_at is null;

-- Events already processed, written in the transaction of their effects.
create table inbox (
    consumer text not null,
    event_id text not null,
    processed_at timestamptz not null default now(),
    primary key (consumer, event_id)
);

-- Tries of single events that failed or killed their process; an event leaves when it succeeds or is buried.
create table attempts (
    consumer text not null,
    event_id text not null,
    attempts integer not null,
    last_at timestamptz not null default now(),
    primary key (consumer, event_id)
);

-- Who is at work. Counters are those of the running process.
create table consumer_instances (
    consumer text not null,
    instance text not null,
    seen_at timestamptz not null default now(),
    handled bigint not null default 0,
    duplicates bigint not null default 0,
    retries bigint not null default 0,
    buried bigint not null default 0,
    primary key (consumer, instance)
);

-- Which instance reads which partition. The lease is checked again inside every transaction (fencing).
create table partition_leases (
    consumer text not null,
    partition integer not null,
    holder text,
    expires_at timestamptz not null default 'epoch',
    primary key (consumer, partition)
);
