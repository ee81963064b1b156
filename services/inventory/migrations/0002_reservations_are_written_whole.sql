-- A reservation is inserted as it was decided: no row waits, in the state 'new', for its transaction to decide.
alter table reservations
    drop constraint reservations_state_check,
    add check (state in ('reserved', 'rejected', 'released', 'cancelled'));
