-- Spans that are over before $2 and hold segments of a target.
SELECT p.origin, p.daily, p.time
FROM origins o
JOIN spans p ON p.origin = o.id
WHERE o.target_id = $1
  AND p.time <= $2::timestamptz - CASE WHEN p.daily THEN interval '1 day' ELSE interval '1 hour' END
ORDER BY p.time
LIMIT $3
FOR UPDATE OF p SKIP LOCKED
