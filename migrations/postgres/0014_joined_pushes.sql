-- Which pushes were joined into which collection, by the ids that they would have had alone: one that comes again is known
-- by them. Kept for an hour; after that a repeat is stored again under the same series and times, and read once.
CREATE TABLE joined_pushes (
    id      uuid PRIMARY KEY,
    job     uuid NOT NULL,
    started timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX joined_pushes_started ON joined_pushes (started);
