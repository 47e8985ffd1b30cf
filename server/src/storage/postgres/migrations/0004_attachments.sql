-- The content of attachments: where its bytes lie, with which key they open, and how many have come.
CREATE TABLE content (
    attachment BYTEA PRIMARY KEY,
    device     BYTEA NOT NULL,
    -- The random name that the bytes lie under.
    object     BYTEA NOT NULL,
    key        BYTEA NOT NULL,
    size       BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    -- Whether all have come and were found to be the right ones.
    stored     BIGINT NOT NULL
);
CREATE INDEX content_by_device ON content (device);

-- Names of bytes that belong to nothing any more, until they are removed.
CREATE TABLE waste (
    prefix TEXT COLLATE "C" PRIMARY KEY,
    at_ms  BIGINT NOT NULL
);

CREATE INDEX attachment_of ON record (((fields ->> 'record') COLLATE "C")) WHERE entity = 'attachment' AND removed = 0;
