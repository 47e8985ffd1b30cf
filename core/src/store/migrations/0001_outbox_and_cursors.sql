-- The tables that belong to no entity. Those of the entities are derived from the model.

-- Small things the store keeps for itself: the last device sequence, the last stamp.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What others keep here because it must be encrypted.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the server has not taken. An entry with a reason was refused by it.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY,
    mutation BLOB NOT NULL,
    entity   TEXT NOT NULL,
    record   BLOB NOT NULL,
    base     INTEGER NOT NULL,
    stamp    INTEGER NOT NULL,
    fields   TEXT NOT NULL,
    reason   TEXT
) STRICT;
CREATE INDEX outbox_by_record ON outbox (record);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE reason IS NULL;

-- The server's version of each record that has entries in the outbox; no fields if it has none.
CREATE TABLE shadow (
    entity TEXT NOT NULL,
    record BLOB NOT NULL,
    rev    INTEGER NOT NULL,
    bucket TEXT NOT NULL,
    fields TEXT,
    PRIMARY KEY (entity, record)
) STRICT, WITHOUT ROWID;

-- How far each bucket's log was read.
CREATE TABLE cursor (
    bucket TEXT PRIMARY KEY,
    seq    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Values that lost in a collision, until the rep has seen them.
CREATE TABLE conflict (
    id       INTEGER PRIMARY KEY,
    entity   TEXT NOT NULL,
    record   BLOB NOT NULL,
    conflict TEXT NOT NULL
) STRICT;
