-- The tables of version 1, out of the way of today's.
DROP TRIGGER idempotency_added;
DROP TRIGGER idempotency_removed;
DROP TABLE idempotency_count;
DROP TABLE rate_windows;
DROP TABLE holds;
DROP INDEX idempotency_expiry;
ALTER TABLE actor RENAME TO actor_1;
ALTER TABLE idempotency RENAME TO idempotency_1;
ALTER TABLE account RENAME TO account_1;
ALTER TABLE entries RENAME TO entries_1;
ALTER TABLE usage_events RENAME TO usage_events_1;
ALTER TABLE usage_client_ids RENAME TO usage_client_ids_1;
