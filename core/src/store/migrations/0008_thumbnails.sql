-- Small pictures that were fetched. They can be fetched again, and go with the record of their attachment.
CREATE TABLE thumbnail (
    -- In the order in which they came.
    n    INTEGER PRIMARY KEY,
    -- The attachment.
    id   BLOB NOT NULL UNIQUE,
    jpeg BLOB NOT NULL
) STRICT;
