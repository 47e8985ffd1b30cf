-- What removed records held, until it is too late to bring them back. One that was erased is not here.
CREATE TABLE removed (
    entity TEXT COLLATE "C" NOT NULL,
    id     BYTEA NOT NULL,
    rev    BIGINT NOT NULL,
    bucket TEXT COLLATE "C" NOT NULL,
    at_ms  BIGINT NOT NULL,
    "by"     BYTEA,
    fields JSON NOT NULL,
    marks  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (entity, id)
);
CREATE INDEX removed_by_time ON removed (entity, at_ms);

CREATE INDEX collision_of ON record (((fields ->> 'record') COLLATE "C")) WHERE entity = 'collision' AND removed = 0;
