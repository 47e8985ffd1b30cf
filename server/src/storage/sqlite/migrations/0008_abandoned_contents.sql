-- When something of a content came last, in milliseconds since 1970: what is never finished goes some time.
ALTER TABLE content ADD COLUMN moved_ms INTEGER NOT NULL DEFAULT 0;
-- What is on its way now is not abandoned.
UPDATE content SET moved_ms = unixepoch() * 1000;
