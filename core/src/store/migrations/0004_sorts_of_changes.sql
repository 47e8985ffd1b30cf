-- A change that is no put, what its author saw in fields whose rule counts the difference, and the conflicts it settles.
ALTER TABLE outbox ADD COLUMN change TEXT;
ALTER TABLE outbox ADD COLUMN was TEXT;
ALTER TABLE outbox ADD COLUMN settles TEXT;
