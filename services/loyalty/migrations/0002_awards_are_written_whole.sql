-- An award is inserted as it is to be: no row waits, in the state 'new', for its transaction to decide.
alter table awards
    drop constraint awards_state_check,
    drop constraint awards_check,
    alter column customer_id set not null,
    alter column changed_at set not null,
    add check (state in ('awarded', 'taken_back', 'cancelled'));
