-- What removed records held, until it is too late to bring them back. One that was erased is not here.
CREATE TABLE removed (
    entity TEXT NOT NULL,
    id     BLOB NOT NULL,
    rev    INTEGER NOT NULL,
    bucket TEXT NOT NULL,
    at_ms  INTEGER NOT NULL,
    by     BLOB,
    fields TEXT NOT NULL,
    marks  TEXT NOT NULL,
    PRIMARY KEY (entity, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX removed_by_time ON removed (entity, at_ms);

CREATE INDEX collision_of ON record (fields ->> '$.record') WHERE entity = 'collision' AND removed = 0;
