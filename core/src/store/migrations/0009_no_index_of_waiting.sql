-- What waits is found by the numbers of the changes: few are refused.
DROP INDEX IF EXISTS outbox_waiting;
