-- Times are milliseconds since 1970 in UTC. Ids are the 16 bytes of a UUID. Secrets are kept as SHA-256 only.

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id         BLOB PRIMARY KEY,
    email      TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    password   TEXT,
    totp       BLOB,
    totp_step  INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user_territory (
    user BLOB NOT NULL REFERENCES user (id),
    code TEXT NOT NULL,
    PRIMARY KEY (user, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    token      BLOB PRIMARY KEY,
    user       BLOB NOT NULL REFERENCES user (id),
    csrf       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE failure (
    account TEXT NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX failure_of_account ON failure (account, at_ms);

CREATE TABLE admin_log (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    actor  BLOB NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL
) STRICT;
CREATE TRIGGER admin_log_stays BEFORE DELETE ON admin_log
BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;
CREATE TRIGGER admin_log_stands BEFORE UPDATE ON admin_log
BEGIN SELECT RAISE(ABORT, 'the log of acts is append-only'); END;

CREATE TABLE ticket (
    token      BLOB PRIMARY KEY,
    user       BLOB NOT NULL REFERENCES user (id),
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
    id            BLOB PRIMARY KEY,
    user          BLOB NOT NULL REFERENCES user (id),
    key           BLOB NOT NULL,
    thumbprint    BLOB NOT NULL UNIQUE,
    install       BLOB NOT NULL,
    name          TEXT NOT NULL,
    platform      TEXT NOT NULL,
    hardware_keys INTEGER NOT NULL,
    core          TEXT NOT NULL,
    enrolled_ms   INTEGER NOT NULL,
    seen_ms       INTEGER,
    unsent        INTEGER NOT NULL,
    status        TEXT NOT NULL,
    last_command  INTEGER NOT NULL,
    applied       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_token (
    hash       BLOB PRIMARY KEY,
    device     BLOB NOT NULL REFERENCES device (id),
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_token_expiry ON access_token (expires_ms);

CREATE TABLE refresh_token (
    hash              BLOB PRIMARY KEY,
    device            BLOB NOT NULL REFERENCES device (id),
    expires_ms        INTEGER NOT NULL,
    family_expires_ms INTEGER NOT NULL,
    spent_ms          INTEGER,
    request           BLOB,
    successor         BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_token_expiry ON refresh_token (family_expires_ms);

CREATE TABLE command (
    n            INTEGER PRIMARY KEY,
    id           BLOB NOT NULL UNIQUE,
    device       BLOB NOT NULL REFERENCES device (id),
    kind         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    issued_by    BLOB NOT NULL,
    issued_ms    INTEGER NOT NULL,
    not_after_ms INTEGER NOT NULL,
    nonce        BLOB,
    state        TEXT NOT NULL
) STRICT;
CREATE INDEX command_of_device ON command (device, n);

CREATE TABLE command_form (
    n            INTEGER PRIMARY KEY,
    command      BLOB NOT NULL REFERENCES command (id),
    seq          INTEGER NOT NULL,
    prev         BLOB NOT NULL,
    hash         BLOB NOT NULL,
    envelope     BLOB NOT NULL,
    delivered_ms INTEGER,
    UNIQUE (command, hash)
) STRICT;

CREATE TABLE receipt (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    device      BLOB NOT NULL REFERENCES device (id),
    command     BLOB,
    progress    TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    verified    INTEGER NOT NULL,
    raw         BLOB NOT NULL,
    UNIQUE (device, raw)
) STRICT;
CREATE TRIGGER receipt_stays BEFORE DELETE ON receipt
BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END;
CREATE TRIGGER receipt_stands BEFORE UPDATE ON receipt
BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END;

CREATE TABLE share (
    device    BLOB PRIMARY KEY REFERENCES device (id),
    share     TEXT NOT NULL,
    stored_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mutation (
    device  BLOB NOT NULL REFERENCES device (id),
    seq     INTEGER NOT NULL,
    id      BLOB NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (device, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE bucket (
    name     TEXT PRIMARY KEY,
    last_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Only the newest entry of a record in a bucket stands; `removed_rev` is set once the record has left it.
CREATE TABLE log (
    bucket      TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    entity      TEXT NOT NULL,
    record      BLOB NOT NULL,
    removed_rev INTEGER,
    PRIMARY KEY (bucket, seq),
    UNIQUE (bucket, entity, record)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
    n       INTEGER PRIMARY KEY,
    entity  TEXT NOT NULL,
    id      BLOB NOT NULL,
    rev     INTEGER NOT NULL,
    bucket  TEXT NOT NULL,
    removed INTEGER NOT NULL,
    fields  TEXT NOT NULL,
    marks   TEXT NOT NULL,
    UNIQUE (entity, id)
) STRICT;
CREATE UNIQUE INDEX customer_code ON record (fields ->> '$.code') WHERE entity = 'customer' AND removed = 0;
CREATE INDEX customer_name ON record (fields ->> '$.name', id) WHERE entity = 'customer' AND removed = 0;
CREATE INDEX visit_start ON record (fields ->> '$.started_at') WHERE entity = 'visit' AND removed = 0;
CREATE INDEX visit_day ON record (fields ->> '$.day') WHERE entity = 'visit' AND removed = 0;

-- The terms are folded by the model before they come here; the tokenizer only splits them.
CREATE VIRTUAL TABLE record_search USING fts5 (
    terms, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 0'
);

CREATE TABLE conflict (
    n        INTEGER PRIMARY KEY,
    entity   TEXT NOT NULL,
    record   BLOB NOT NULL,
    device   BLOB NOT NULL,
    at_ms    INTEGER NOT NULL,
    conflict TEXT NOT NULL
) STRICT;
