-- What an answer told of a value that lost comes as a record of its own as well, and that one is settled for everybody.
DROP TABLE conflict;
DELETE FROM digest WHERE name = 'conflict';
