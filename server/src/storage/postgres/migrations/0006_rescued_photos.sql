-- Attachments that were not sent, as devices hand them over: the file as it lay there, its bytes in the object storage,
-- and its key sealed to the organisation's rescue key.
CREATE TABLE rescued_photo (
    n          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device     BYTEA NOT NULL REFERENCES device (id),
    file       BYTEA NOT NULL,
    attachment BYTEA NOT NULL,
    sealed_key BYTEA NOT NULL,
    -- The random name that the bytes lie under, and the key that they are sealed with there.
    object     BYTEA NOT NULL,
    key        BYTEA NOT NULL,
    size       BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    state      TEXT NOT NULL,
    -- The file's key once it was opened, until the content is filed; else nothing.
    opened_key BYTEA NOT NULL,
    moved_ms   BIGINT NOT NULL,
    opened_ms  BIGINT,
    UNIQUE (device, file)
);
CREATE INDEX rescued_photo_by_state ON rescued_photo (state);
