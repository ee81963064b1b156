-- Finds what is old enough to be forgotten without reading the whole inbox. Rows lie in the order of their time, so one
-- small entry stands for many pages (https://www.postgresql.org/docs/current/brin.html), and writing costs next to nothing.
create index inbox_by_age on inbox using brin (processed_at);
