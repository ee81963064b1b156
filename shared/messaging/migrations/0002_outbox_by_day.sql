-- The outbox becomes a table of days, so that old ones are dropped instead of deleted row by row
-- (https://www.postgresql.org/docs/current/ddl-partitioning.html). Days are created ahead by retention.rs.
alter table outbox rename to outbox_before;
drop index outbox_unpublished;

create table outbox (
    id bigint generated always as identity,
    event_id text not null,
    event_type text not null,
    order_id text not null,
    subject text not null,
    occurred_at timestamptz not null,
    traceparent text,
    tracestate text,
    -- JSON of [name, value] pairs, of a dead letter alone: it carries those of the event. As bytes, because
    -- Postgres refuses some of the text that a header may be.
    headers bytea,
    body bytea not null,
    created_at timestamptz not null default now(),
    published_at timestamptz,
    stream_sequence bigint,
    primary key (id, created_at)
) partition by range (created_at);
create index outbox_unpublished on outbox (id) where published_at is null;
create index outbox_dead_letters on outbox (event_id) where event_type = 'DeadLetter';

-- Today's partition also takes what was there before.
do $$
declare
    today date := now() at time zone 'UTC';
begin
    execute format('create table %I partition of outbox for values from (minvalue) to (%L)',
                   'outbox_' || to_char(today, 'YYYYMMDD'), (today + 1) || ' 00:00:00+00');
end $$;
insert into outbox (id, event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body,
                    created_at, published_at, stream_sequence)
overriding system value
select id, event_id, event_type, order_id, subject, occurred_at, traceparent, tracestate, body,
       created_at, published_at, stream_sequence
from outbox_before;
select setval(pg_get_serial_sequence('outbox', 'id'), coalesce((select max(id) from outbox), 1));
drop table outbox_before;

-- Makes the partitions of today and of as many days after. A table is attached, not created in place, because
-- that does not keep anybody from writing meanwhile.
create function outbox_make_days(ahead integer) returns void language plpgsql as $$
declare
    today date := now() at time zone 'UTC';
    day date;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtext('outbox_days'));
    for n in 0..ahead loop
        day := today + n;
        partition := 'outbox_' || to_char(day, 'YYYYMMDD');
        if to_regclass(partition) is null then
            execute format('create table %I (like outbox including defaults including indexes)', partition);
            execute format('alter table outbox attach partition %I for values from (%L) to (%L)',
                           partition, day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
        end if;
    end loop;
end $$;
select outbox_make_days(7);

-- Drops the days that ended longer ago than `keep`, unless something in them still waits to be published.
-- Returns how many. Gives up when somebody holds the table for long; the next call tries again.
create function outbox_drop_days(keep interval) returns integer language plpgsql as $$
declare
    partition text;
    waiting boolean;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('outbox_days'));
    perform set_config('lock_timeout', '2s', true);
    for partition in
        select relname from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'outbox'::regclass
              and to_date(right(relname, 8), 'YYYYMMDD') + 1 <= (now() - keep) at time zone 'UTC'
        order by relname
    loop
        execute format('select exists (select from %I where published_at is null)', partition) into waiting;
        if not waiting then
            execute format('drop table %I', partition);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

-- Which stream the relay has published to: one that was created anew holds nothing of what was sent before.
create table relay_streams (
    stream text primary key,
    created text not null
);
