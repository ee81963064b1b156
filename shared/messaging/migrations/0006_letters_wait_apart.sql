-- Dead letters wait apart from everything else that waits to be published, so that a full `DLQ` holds up nobody
-- (docs/adr/0018-dead-letters-go-through-the-outbox.md).
alter table outbox_waiting add column is_letter boolean not null default false;
update outbox_waiting set is_letter = true
from outbox where outbox.id = outbox_waiting.id and outbox.created_at = outbox_waiting.created_at
                  and outbox.event_type = 'DeadLetter';
create index outbox_letters_waiting on outbox_waiting (id) where is_letter;
