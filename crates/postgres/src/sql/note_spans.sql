-- The row is written anew where it is there, so that whoever removes what it stands for, and this, wait for each other.
INSERT INTO spans (origin, daily, time)
SELECT origin, daily, time FROM unnest($1::int4[], $2::bool[], $3::timestamptz[]) AS new (origin, daily, time)
ORDER BY origin, daily, time
ON CONFLICT (origin, daily, time) DO UPDATE SET seen = excluded.seen
