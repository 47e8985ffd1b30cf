-- The content of attachments: where its bytes lie, with which key they open, and how many have come.
CREATE TABLE content (
    attachment BLOB PRIMARY KEY,
    device     BLOB NOT NULL,
    -- The random name that the bytes lie under.
    object     BLOB NOT NULL,
    key        BLOB NOT NULL,
    size       INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    -- Whether all have come and were found to be the right ones.
    stored     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX content_by_device ON content (device);

-- Names of bytes that belong to nothing any more, until they are removed.
CREATE TABLE waste (
    prefix TEXT PRIMARY KEY,
    at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX attachment_of ON record (fields ->> '$.record') WHERE entity = 'attachment' AND removed = 0;
