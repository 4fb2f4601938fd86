-- As segments.sql; $2 is the beginning of the day. What is packed leaves the database as it is.
SELECT g.time, g.series, g.timeline, w.first,
       CASE WHEN w.first IS NULL THEN g."values" ELSE g."values"[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.offsets ELSE g.offsets[w.first + 1 : w.last] END,
       g.histograms, g.packed,
       g.level, g.slope, g.scale,
       CASE WHEN w.first IS NULL THEN g.low1 ELSE g.low1[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.low2 ELSE g.low2[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.low4 ELSE g.low4[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.high ELSE g.high[w.first + 1 : w.last] END,
       w.last
FROM segments_daily g
LEFT JOIN LATERAL (
    SELECT width_bucket((date_part('epoch', greatest($3, g.time) - g.time) * 1000)::int4 - 1, o.offsets) AS first,
           width_bucket((date_part('epoch', least($4, g.time + interval '1 day') - g.time) * 1000)::int4, o.offsets)
               AS last
    FROM (
        SELECT coalesce(g.offsets, (SELECT t.offsets FROM timelines t WHERE t.id = g.timeline)) AS offsets OFFSET 0
    ) AS o
    WHERE g.packed IS NULL AND (g.time < $3 OR g.time > $4 - interval '1 day')
    OFFSET 0
) AS w ON true
WHERE g.series = ANY($1)
  AND g.time >= $2 AND g.time <= $4
  AND (w.first IS NULL OR w.first < w.last)
