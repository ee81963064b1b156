-- A refill that is under way puts rows of an old day back among those that wait, unseen until it commits: the day is
-- looked at when nobody can. Orders wait behind this lock, so whoever holds the tables for longer (a dump) is not waited for:
-- the next try comes in ten minutes. The order of the tables is the relay's.
--
-- Returns how many days were dropped.
create or replace function outbox_drop_days(keep interval) returns integer language plpgsql as $$
declare
    day text;
    waiting boolean;
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
        lock table only outbox_stored, only outbox in access exclusive mode;
        execute format('select exists (select from outbox_waiting join %I using (id, created_at))', 'outbox_' || day)
            into waiting;
        if not waiting then
            execute format('drop table %I, %I', 'outbox_' || day, 'outbox_stored_' || day);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
