SELECT *
FROM metric_targets
WHERE ($1::text IS NULL OR source_id = $1)
  AND ($2::text IS NULL OR health_status = $2)
  AND ($3::boolean IS NULL OR enabled = $3)
  AND ($4::text IS NULL OR target_id > $4)
  AND labels @> ALL ($5::text[]::jsonb[])
  AND NOT labels ?| $6::text[]
  AND ($8::text IS NULL OR origin = $8)
ORDER BY target_id
LIMIT $7
