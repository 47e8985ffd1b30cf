-- What was removed with the record it is attached to comes back with that one; what somebody removed by itself does not.
-- Until now the same millisecond told the two apart.
ALTER TABLE removed ADD COLUMN along BIGINT NOT NULL DEFAULT 0;
UPDATE removed SET along = 1
WHERE entity = 'attachment' AND EXISTS (
    SELECT 1 FROM removed AS record
    WHERE record.entity <> 'attachment' AND record.at_ms = removed.at_ms
    AND encode(record.id, 'hex') = replace(removed.fields ->> 'record', '-', '')
);
