-- The index of buckets holds versions and ids from now on, so that what a bucket holds is read from it alone. It, and the
-- search indexes in their new form, are made with the entities' tables.
DROP INDEX IF EXISTS customer_by_bucket;
DROP INDEX IF EXISTS visit_by_bucket;
DROP INDEX IF EXISTS collision_by_bucket;
DROP INDEX IF EXISTS customer_by_territory;
DROP TABLE IF EXISTS customer_search;
DROP TABLE IF EXISTS visit_search;
DROP TABLE IF EXISTS collision_search;

-- Rows of the server that this version of the app can't show.
CREATE TABLE passed_over (
    entity TEXT NOT NULL,
    record BLOB NOT NULL,
    rev    INTEGER NOT NULL,
    bucket TEXT NOT NULL,
    PRIMARY KEY (entity, record)
) STRICT, WITHOUT ROWID;
CREATE INDEX passed_over_in_bucket ON passed_over (bucket);

-- Buckets whose rows were not those of the server, and are read anew: what is told the server about it.
CREATE TABLE healing (
    bucket     TEXT PRIMARY KEY,
    difference TEXT NOT NULL,
    -- Whether the server has been told.
    told       INTEGER NOT NULL,
    -- Whether all of it has been read anew.
    over       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows of such a bucket that have not come again yet.
CREATE TABLE unconfirmed (
    bucket TEXT NOT NULL,
    entity TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (bucket, entity, record)
) STRICT, WITHOUT ROWID;
