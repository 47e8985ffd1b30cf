-- A visit that was only planned has no start: no line of it is needed here, and most that come at once are such.
DROP INDEX visit_start;
CREATE INDEX visit_start ON record (((fields ->> 'started_at') COLLATE "C"))
WHERE entity = 'visit' AND removed = 0 AND fields ->> 'started_at' IS NOT NULL;
