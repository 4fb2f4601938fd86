-- As old_spans.sql, of all targets but those of $1.
SELECT p.origin, p.daily, p.time
FROM spans p
JOIN origins o ON o.id = p.origin
WHERE o.target_id <> ALL ($1::text[])
  AND p.time < $2
  AND p.time <= $2::timestamptz - CASE WHEN p.daily THEN interval '1 day' ELSE interval '1 hour' END
ORDER BY p.time
LIMIT $3
FOR UPDATE OF p SKIP LOCKED
