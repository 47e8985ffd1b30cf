-- What a ticket says, as a hash: both sides of an enrolment must have read the same code. Tickets from before have none.
ALTER TABLE ticket ADD COLUMN digest BLOB;

-- When a root was published; those from before count as old.
ALTER TABLE root ADD COLUMN published_ms INTEGER NOT NULL DEFAULT 0;

-- Devices that wait for a person to compare digits, and what was decided.
CREATE TABLE enrolment (
    id            BLOB PRIMARY KEY,
    user          BLOB NOT NULL REFERENCES user (id),
    key           BLOB NOT NULL,
    install       BLOB NOT NULL,
    name          TEXT NOT NULL,
    platform      TEXT NOT NULL,
    hardware_keys INTEGER NOT NULL,
    core          TEXT NOT NULL,
    ticket        BLOB NOT NULL,
    commitment    BLOB NOT NULL,
    nonce         BLOB NOT NULL,
    begun_ms      INTEGER NOT NULL,
    digits        INTEGER,
    state         TEXT NOT NULL,
    device        BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolment_age ON enrolment (begun_ms);
