-- A fact is written some four times. With room on its page the new version stays there and no index is touched
-- (https://www.postgresql.org/docs/current/storage-hot.html).
alter table order_facts set (fillfactor = 60);
