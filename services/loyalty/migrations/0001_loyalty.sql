-- Who was given how many points for which order.
-- Always true: balances.points = the sum of the customer's awards in state 'awarded'.

create table awards (
    order_id text primary key,
    -- The customer is unknown only to the transaction that inserts the row; so is the state 'new'.
    customer_id text,
    points bigint not null default 0,
    -- 'cancelled' came before the order itself.
    state text not null check (state in ('new', 'awarded', 'taken_back', 'cancelled')),
    -- When the award last changed, by the clock of the service that said so.
    changed_at timestamptz,
    check (state = 'new' or (customer_id is not null and changed_at is not null))
);
create index awards_by_customer on awards (customer_id, changed_at desc);

create table balances (
    customer_id text primary key,
    points bigint not null
);
