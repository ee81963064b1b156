-- How far each durable consumer had come, and when the message it had come to was stored (see position.rs).
create table consumer_positions (
    durable text primary key,
    stream_sequence bigint not null,
    stored_at text not null
);
