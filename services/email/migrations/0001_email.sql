-- Mails the SMTP server has taken. `copies` counts how often it took one, or may have: a process that dies
-- between sending and writing this down sends again, with the same Message-ID.
create table mails (
    message_id text primary key,
    order_id text not null,
    kind text not null check (kind in ('received', 'cancelled', 'ready')),
    recipient text not null,
    sent_at timestamptz not null default now(),
    copies integer not null
);
create index mails_of_an_order on mails (order_id);

-- Mails being handed to the SMTP server right now. `begun` says how often that was begun without knowing
-- how it ended.
create table handovers (
    message_id text primary key,
    begun integer not null,
    since timestamptz not null default now()
);
