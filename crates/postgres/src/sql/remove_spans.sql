DELETE FROM spans p
USING unnest($1::int4[], $2::bool[], $3::timestamptz[]) AS old (origin, daily, time)
WHERE p.origin = old.origin AND p.daily = old.daily AND p.time = old.time
