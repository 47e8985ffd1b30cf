-- For each table the sum of its rows' keyed hashes, which shows whether every page is of the same state.
CREATE TABLE digest (
    name TEXT PRIMARY KEY,
    sum  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
