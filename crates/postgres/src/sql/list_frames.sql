-- Frames between $2 and $3; those of layouts $1, and those that carry their own ids. $4 is the beginning of the range:
-- frames whose samples differ in time may begin before it.
SELECT time, seq, part, batch_id, layout, NULL::int4
FROM frames
WHERE layout = ANY($1)
  AND time >= $2 AND time <= $3
  AND (time >= $4 OR offsets IS NOT NULL)
UNION ALL
SELECT time, seq, part, batch_id, NULL::int8, pg_column_size(series_ids)
FROM frames
WHERE layout IS NULL
  AND time >= $2 AND time <= $3
  AND (time >= $4 OR offsets IS NOT NULL)
LIMIT $5
