-- What analytics knows of each order, and the sums over all of them.
-- Always true: totals and item_totals equal a recomputation from order_facts.

create table order_facts (
    order_id text primary key,
    -- Of the order itself; null until OrderCreated is heard. Items are as on the wire.
    total_cents bigint,
    items jsonb,
    created_at timestamptz,
    confirmed boolean not null default false,
    cancelled boolean not null default false,
    captured_cents bigint not null default 0,
    refunded_cents bigint not null default 0,
    ready_at timestamptz
);

-- One row. gross_cents is of orders created and not cancelled; the times to ready are of the `timed` orders
-- of which both created_at and ready_at are known.
create table totals (
    id integer primary key check (id = 1),
    orders bigint not null default 0,
    confirmed bigint not null default 0,
    cancelled bigint not null default 0,
    ready bigint not null default 0,
    gross_cents bigint not null default 0,
    captured_cents bigint not null default 0,
    refunded_cents bigint not null default 0,
    -- Summed as whole numbers: a sum of floating-point numbers would depend on the order of arrival.
    micros_to_ready numeric not null default 0,
    seconds_to_ready double precision not null
        generated always as ((micros_to_ready / 1000000)::double precision) stored,
    timed bigint not null default 0
);
insert into totals (id) values (1);

-- Of orders created and not cancelled.
create table item_totals (
    name text primary key,
    quantity bigint not null,
    cents bigint not null
);
