-- A refill that is under way puts rows of an old day back among those that wait, unseen until it commits. So before a day is
-- dropped it is looked at once more, when nobody else can touch it. Orders wait behind that lock: whoever holds the tables for
-- longer (a dump) is not waited for, and the next try comes in ten minutes.

create function outbox_is_waiting_for(day text) returns boolean language plpgsql as $$
declare
    waiting boolean;
begin
    -- Ids grow with the days, so what waits of younger ones is not looked at.
    execute format('select exists (select from outbox_waiting join %1$I using (id, created_at)
                                   where outbox_waiting.id <= (select max(id) from %1$I))', 'outbox_' || day)
        into waiting;
    return waiting;
end $$;

-- Returns how many days were dropped.
create or replace function outbox_drop_days(keep interval) returns integer language plpgsql as $$
declare
    day text;
    dropped integer := 0;
begin
    perform pg_advisory_xact_lock(hashtext('outbox_days'));
    perform set_config('lock_timeout', '100ms', true);
    for day in
        select right(relname, 8) from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'outbox'::regclass
              and to_date(right(relname, 8), 'YYYYMMDD') + 1 <= (now() - keep) at time zone 'UTC'
        order by relname
    loop
        continue when outbox_is_waiting_for(day);
        lock table only outbox, only outbox_stored in access exclusive mode;
        continue when outbox_is_waiting_for(day);
        execute format('drop table %I, %I', 'outbox_' || day, 'outbox_stored_' || day);
        dropped := dropped + 1;
    end loop;
    return dropped;
end $$;
