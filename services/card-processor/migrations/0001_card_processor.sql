-- The card company's own books. A charge is refunded in full or not at all, so its refund lives in its row.
create table charges (
    charge_id text primary key,
    idempotency_key text not null unique,
    reference text not null,
    customer text not null,
    amount_cents bigint not null check (amount_cents >= 0),
    status text not null check (status in ('captured', 'declined')),
    reason text,
    refund_id text,
    refund_key text unique,
    refunded_cents bigint not null default 0 check (refunded_cents in (0, amount_cents)),
    refunded_at timestamptz,
    created_at timestamptz not null default now(),
    check (status = 'captured' or refund_key is null)
);
create index charges_reference on charges (reference);
