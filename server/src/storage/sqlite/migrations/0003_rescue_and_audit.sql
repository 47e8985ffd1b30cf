-- Unsent work as devices handed it over, sealed to the rescue key. The bytes go away some time after they were
-- opened; hash and length stay, so that a repeat of the segment is known again.
CREATE TABLE segment (
    n           INTEGER PRIMARY KEY,
    device      BLOB NOT NULL REFERENCES device (id),
    segment     BLOB NOT NULL,
    sha256      BLOB NOT NULL,
    length      INTEGER NOT NULL,
    changes     INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    opened_ms   INTEGER,
    bytes       BLOB NOT NULL,
    UNIQUE (device, segment)
) STRICT;
CREATE INDEX segment_sealed ON segment (n) WHERE opened_ms IS NULL;

-- Changes out of opened segments. The mutation goes away some time after the change was settled.
CREATE TABLE rescued (
    change_id   BLOB PRIMARY KEY,
    device      BLOB NOT NULL REFERENCES device (id),
    user        BLOB NOT NULL,
    commit_seq  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    entity      TEXT NOT NULL,
    record      BLOB NOT NULL,
    made_ms     INTEGER NOT NULL,
    void        INTEGER NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT,
    mutation    TEXT,
    outcome     TEXT,
    filed_ms    INTEGER NOT NULL,
    settled_ms  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX rescued_of_device ON rescued (device, commit_seq, seq);

-- The devices' audit entries in the order in which they came in. `head` is the hash of the device's chain after the
-- entry, `chain` that of the server's own chain through the entries of all devices.
CREATE TABLE audit (
    n           INTEGER PRIMARY KEY,
    device      BLOB NOT NULL REFERENCES device (id),
    seq         INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    actor       BLOB NOT NULL,
    action      TEXT NOT NULL,
    entity      TEXT,
    record      BLOB,
    bytes       BLOB NOT NULL,
    head        BLOB NOT NULL,
    chain       BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    UNIQUE (device, seq)
) STRICT;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- The end of each device's chain, and the last end that the device has signed and the server has stored.
CREATE TABLE audit_head (
    device      BLOB PRIMARY KEY REFERENCES device (id),
    seq         INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    stored_ms   INTEGER NOT NULL,
    signed_seq  INTEGER NOT NULL,
    signed_hash BLOB NOT NULL,
    signature   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_fault (
    device BLOB NOT NULL REFERENCES device (id),
    kind   TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    PRIMARY KEY (device, kind, seq)
) STRICT, WITHOUT ROWID;
