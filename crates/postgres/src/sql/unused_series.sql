-- Which of these series no list, segment, rolled-up value or exemplar has. Frames that carry their own ids are looked at
-- apart.
SELECT w.id
FROM unnest($1::int8[]) AS w (id)
WHERE NOT EXISTS (SELECT FROM segments g WHERE g.series = w.id)
  AND NOT EXISTS (SELECT FROM segments_daily g WHERE g.series = w.id)
  AND NOT EXISTS (SELECT FROM rollups_minutes r WHERE r.series = w.id)
  AND NOT EXISTS (SELECT FROM rollups_hours r WHERE r.series = w.id)
  AND NOT EXISTS (SELECT FROM exemplars e WHERE e.series = w.id)
  AND NOT EXISTS (
      SELECT FROM segments_constant g
      WHERE g.key = ANY (ARRAY(SELECT metricsd_constant_key(w.id, b.bits) FROM segments_constant_bits b))
        AND w.id = ANY (g.series)
  )
