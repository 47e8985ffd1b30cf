-- Attachments that were not sent, as devices hand them over: the file as it lay there, its bytes in the object storage,
-- and its key sealed to the organisation's rescue key.
CREATE TABLE rescued_photo (
    n          INTEGER PRIMARY KEY,
    device     BLOB NOT NULL REFERENCES device (id),
    file       BLOB NOT NULL,
    attachment BLOB NOT NULL,
    sealed_key BLOB NOT NULL,
    -- The random name that the bytes lie under, and the key that they are sealed with there.
    object     BLOB NOT NULL,
    key        BLOB NOT NULL,
    size       INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    state      TEXT NOT NULL,
    -- The file's key once it was opened, until the content is filed; else nothing.
    opened_key BLOB NOT NULL,
    moved_ms   INTEGER NOT NULL,
    opened_ms  INTEGER,
    UNIQUE (device, file)
) STRICT;
CREATE INDEX rescued_photo_by_state ON rescued_photo (state);
