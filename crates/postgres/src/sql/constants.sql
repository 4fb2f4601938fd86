-- As segments.sql, of series that did not change: a row for each that is asked for.
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
