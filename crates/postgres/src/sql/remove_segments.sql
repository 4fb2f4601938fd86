DELETE FROM segments s
USING unnest($1::int8[], $2::timestamptz[]) AS old (series, time)
WHERE s.series = old.series AND s.time = old.time AND s.time >= $3 AND s.time < $4
