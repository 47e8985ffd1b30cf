-- What the rows of each bucket add up to, changed in the transaction that changes a row. There is a line for each bucket that
-- ever had a row.
CREATE TABLE bucket_sum (
    bucket   TEXT PRIMARY KEY,
    rows     INTEGER NOT NULL,
    versions BLOB NOT NULL,
    contents BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What each record adds to it: the hash of its contents. Records from before have none until the first start.
ALTER TABLE record ADD COLUMN contents BLOB;
