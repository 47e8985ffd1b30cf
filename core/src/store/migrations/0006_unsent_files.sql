-- Attachments whose content the server has not said to have. What is here is never dropped to make room.
CREATE TABLE unsent_file (
    id     BLOB PRIMARY KEY,
    -- Bytes that the server has, as far as is known.
    sent   INTEGER NOT NULL,
    -- How often the server has refused what was sent.
    failed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
