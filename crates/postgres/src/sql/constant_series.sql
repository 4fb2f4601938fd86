-- Which of these series stand in rows of many, of those that transaction $2 or a later one has written, where it is given. Rows
-- that several of them may stand in are read once.
SELECT DISTINCT m.series
FROM segments_constant g
CROSS JOIN LATERAL unnest(g.series) AS m (series)
WHERE g.key = ANY (ARRAY(
        SELECT DISTINCT metricsd_constant_key(a.id, b.bits)
        FROM unnest($1::int8[]) AS a (id)
        CROSS JOIN segments_constant_bits b
      ))
  AND ($2::text IS NULL OR age(g.xmin) <= age($2::text::xid8::xid))
  AND m.series = ANY ($1)
