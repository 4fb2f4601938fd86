-- Which of these series have no segment of their own, rolled-up value or exemplar. Lists, frames that carry their own ids and
-- rows of many series are looked at apart.
SELECT w.id
FROM unnest($1::int8[]) AS w (id)
WHERE NOT EXISTS (SELECT FROM segments g WHERE g.series = w.id)
  AND NOT EXISTS (SELECT FROM segments_daily g WHERE g.series = w.id)
  AND NOT EXISTS (SELECT FROM rollups_minutes r WHERE r.series = w.id)
  AND NOT EXISTS (SELECT FROM rollups_hours r WHERE r.series = w.id)
  AND NOT EXISTS (SELECT FROM exemplars e WHERE e.series = w.id)
