-- The chain of roots, wipes that wait for approval, policies, what is watched about each device, and alerts.

CREATE TABLE root (
    version  INTEGER PRIMARY KEY,
    envelope BLOB NOT NULL
) STRICT;
INSERT INTO root (version, envelope) SELECT 1, value FROM setting WHERE name = 'root';
DELETE FROM setting WHERE name = 'root';
CREATE TRIGGER root_stays BEFORE DELETE ON root
BEGIN SELECT RAISE(ABORT, 'the chain of roots is append-only'); END;
CREATE TRIGGER root_stands BEFORE UPDATE ON root
BEGIN SELECT RAISE(ABORT, 'the chain of roots is append-only'); END;

-- Whose an approver's key is. Which keys count, the root says.
CREATE TABLE approver (
    id     BLOB PRIMARY KEY,
    public BLOB NOT NULL,
    label  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wipe_proposal (
    n           INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    device      BLOB NOT NULL REFERENCES device (id),
    payload     BLOB NOT NULL,
    proposed_by BLOB NOT NULL,
    proposed_ms INTEGER NOT NULL,
    state       TEXT NOT NULL,
    command     BLOB REFERENCES command (id),
    issued_ms   INTEGER,
    threshold   INTEGER
) STRICT;
CREATE INDEX wipe_proposal_of_device ON wipe_proposal (device, n);
CREATE INDEX wipe_proposal_issued ON wipe_proposal (issued_ms) WHERE issued_ms IS NOT NULL;

CREATE TABLE wipe_approval (
    n         INTEGER PRIMARY KEY,
    proposal  BLOB NOT NULL REFERENCES wipe_proposal (id),
    key       BLOB NOT NULL,
    label     TEXT NOT NULL,
    signature BLOB NOT NULL,
    at_ms     INTEGER NOT NULL,
    UNIQUE (proposal, key)
) STRICT;
CREATE TRIGGER wipe_approval_stays BEFORE DELETE ON wipe_approval
BEGIN SELECT RAISE(ABORT, 'approvals are append-only'); END;
CREATE TRIGGER wipe_approval_stands BEFORE UPDATE ON wipe_approval
BEGIN SELECT RAISE(ABORT, 'approvals are append-only'); END;

CREATE TABLE policy (
    version INTEGER PRIMARY KEY,
    policy  TEXT NOT NULL,
    set_by  BLOB NOT NULL,
    set_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE watch (
    device BLOB PRIMARY KEY REFERENCES device (id),
    watch  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    id      BLOB NOT NULL UNIQUE,
    device  BLOB REFERENCES device (id),
    kind    TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    detail  TEXT NOT NULL,
    seen_by BLOB,
    seen_ms INTEGER
) STRICT;
CREATE INDEX alert_unseen ON alert (kind, device) WHERE seen_ms IS NULL;
