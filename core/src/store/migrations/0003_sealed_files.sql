-- What is attached to records. The content is in a file of its own, sealed with a key that is kept here, wrapped: when
-- the row is gone, nothing opens the file any more.
CREATE TABLE sealed_file (
    -- In the order in which they were added.
    n          INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    entity     TEXT NOT NULL,
    record     BLOB NOT NULL,
    kind       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    -- Bytes of the content, and of the file.
    size       INTEGER NOT NULL,
    stored     INTEGER NOT NULL,
    -- Of the content. It never leaves the device.
    sha256     BLOB NOT NULL,
    added_ms   INTEGER NOT NULL,
    -- The file's random name, and its key.
    file       BLOB NOT NULL UNIQUE,
    key        BLOB NOT NULL
) STRICT;
CREATE INDEX sealed_file_by_record ON sealed_file (record);
