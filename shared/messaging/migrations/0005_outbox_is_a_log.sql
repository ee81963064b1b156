-- A row of the outbox is written once and never changed. What waits to be published, and where the broker stored the rest,
-- lies beside it in narrow rows (docs/adr/0022-rows-of-the-outbox-are-never-changed.md).

create table outbox_waiting (
    id bigint primary key,
    created_at timestamptz not null
);

create table outbox_stored (
    stream text not null,
    sequence bigint not null,
    id bigint not null,
    created_at timestamptz not null
) partition by range (created_at);
create index outbox_stored_place on outbox_stored (stream, sequence);

-- The days of both tables are the same.
do $$
declare
    day record;
begin
    for day in
        select right(relname, 8) as name, pg_get_expr(relpartbound, oid) as bounds
        from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'outbox'::regclass
    loop
        execute format('create table %I partition of outbox_stored %s', 'outbox_stored_' || day.name, day.bounds);
    end loop;
end $$;

insert into outbox_waiting select id, created_at from outbox where published_at is null;
insert into outbox_stored (stream, sequence, id, created_at)
select upper(split_part(subject, '.', 1)), stream_sequence, id, created_at
from outbox where published_at is not null order by stream_sequence;
-- Whoever writes says when. An instance of the version before does not, and fails; its rows would wait for ever.
alter table outbox drop column published_at, drop column stream_sequence, alter column created_at drop default;

create or replace function outbox_make_days(ahead integer) returns void language plpgsql as $$
declare
    today date := now() at time zone 'UTC';
    day date;
    parent text;
    partition text;
begin
    perform pg_advisory_xact_lock(hashtext('outbox_days'));
    for n in 0..ahead loop
        day := today + n;
        foreach parent in array array['outbox', 'outbox_stored'] loop
            partition := parent || '_' || to_char(day, 'YYYYMMDD');
            if to_regclass(partition) is null then
                execute format('create table %I (like %I including defaults including indexes)', partition, parent);
                execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                               parent, partition, day || ' 00:00:00+00', (day + 1) || ' 00:00:00+00');
            end if;
        end loop;
    end loop;
end $$;

-- Returns how many days were dropped.
create or replace function outbox_drop_days(keep interval) returns integer language plpgsql as $$
declare
    day text;
    waiting boolean;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('outbox_days'));
    perform set_config('lock_timeout', '2s', true);
    for day in
        select right(relname, 8) from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'outbox'::regclass
              and to_date(right(relname, 8), 'YYYYMMDD') + 1 <= (now() - keep) at time zone 'UTC'
        order by relname
    loop
        execute format('select exists (select from outbox_waiting join %I using (id, created_at))', 'outbox_' || day)
            into waiting;
        if not waiting then
            execute format('drop table %I, %I', 'outbox_' || day, 'outbox_stored_' || day);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
