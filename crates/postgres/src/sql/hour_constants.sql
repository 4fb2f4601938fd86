-- Rows of the hour $2 in which these series stand.
SELECT g.key, g.series, g.level, g.origins, g.timelines
FROM segments_constant g
WHERE g.time = $2
  AND g.key = ANY (ARRAY(
        SELECT DISTINCT metricsd_constant_key(a.id, b.bits)
        FROM unnest($1::int8[]) AS a (id)
        CROSS JOIN segments_constant_bits b
      ))
  AND EXISTS (SELECT FROM unnest(g.series) AS m (series) WHERE m.series = ANY ($1))
