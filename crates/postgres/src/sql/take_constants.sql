-- A series stands in one row of an hour, so the first of a row tells which it is.
DELETE FROM segments_constant g
USING unnest($1::int4[], $2::int8[]) AS old (key, first)
WHERE g.key = old.key AND g.series[1] = old.first AND g.time = $3
