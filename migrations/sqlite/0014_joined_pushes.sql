-- Which pushes were joined into which collection, by the ids that they would have had alone: one that comes again is known
-- by them. Kept for an hour; after that a repeat is stored again under the same series and times, and read once.
CREATE TABLE joined_pushes (
    id      BLOB NOT NULL PRIMARY KEY,
    job     BLOB NOT NULL,
    started INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX joined_pushes_started ON joined_pushes (started);
