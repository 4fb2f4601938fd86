-- $2 is the beginning of the hour of $3. Of segments that the range cuts only the part inside leaves the database, and
-- of rows of many series only those that are asked for.
SELECT g.time, g.series, g.timeline, w.first,
       CASE WHEN w.first IS NULL THEN g."values" ELSE g."values"[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.offsets ELSE g.offsets[w.first + 1 : w.last] END,
       g.histograms, NULL::bytea,
       g.level, g.slope, g.scale,
       CASE WHEN w.first IS NULL THEN g.low1 ELSE g.low1[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.low2 ELSE g.low2[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.low4 ELSE g.low4[w.first + 1 : w.last] END,
       CASE WHEN w.first IS NULL THEN g.high ELSE g.high[w.first + 1 : w.last] END,
       w.last
FROM segments g
LEFT JOIN LATERAL (
    SELECT width_bucket((date_part('epoch', greatest($3, g.time) - g.time) * 1000)::int4 - 1, o.offsets) AS first,
           width_bucket((date_part('epoch', least($4, g.time + interval '1 hour') - g.time) * 1000)::int4, o.offsets)
               AS last
    FROM (
        SELECT coalesce(g.offsets, (SELECT t.offsets FROM timelines t WHERE t.id = g.timeline)) AS offsets OFFSET 0
    ) AS o
    WHERE g.time < $3 OR g.time > $4 - interval '1 hour'
    OFFSET 0
) AS w ON true
WHERE g.series = ANY($1)
  AND g.time >= $2 AND g.time <= $4
  AND (w.first IS NULL OR w.first < w.last)
UNION ALL
SELECT g.time, m.series, m.timeline, w.first, NULL::float8[], NULL::int4[], NULL::bytea, NULL::bytea,
       m.level, NULL::float8, NULL::float8, NULL::"char"[], NULL::int2[], NULL::int4[], NULL::"char"[], w.last
FROM segments_constant g
CROSS JOIN LATERAL unnest(g.series, g.level, g.timelines) AS m (series, level, timeline)
LEFT JOIN LATERAL (
    SELECT width_bucket((date_part('epoch', greatest($3, g.time) - g.time) * 1000)::int4 - 1, o.offsets) AS first,
           width_bucket((date_part('epoch', least($4, g.time + interval '1 hour') - g.time) * 1000)::int4, o.offsets)
               AS last
    FROM (SELECT (SELECT t.offsets FROM timelines t WHERE t.id = m.timeline) AS offsets OFFSET 0) AS o
    WHERE g.time < $3 OR g.time > $4 - interval '1 hour'
    OFFSET 0
) AS w ON true
WHERE g.key = ANY (ARRAY(
        SELECT DISTINCT metricsd_constant_key(a.id, b.bits)
        FROM unnest($1::int8[]) AS a (id)
        CROSS JOIN segments_constant_bits b
      ))
  AND g.time >= $2 AND g.time <= $4
  AND m.series = ANY($1)
  AND (w.first IS NULL OR w.first < w.last)
