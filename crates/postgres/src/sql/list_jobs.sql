SELECT *
FROM collection_jobs
WHERE ($1::text IS NULL OR target_id = $1)
  AND ($2::text IS NULL OR status = $2)
  AND ($3::timestamptz IS NULL OR created_at < $3)
ORDER BY created_at DESC, seq DESC
LIMIT $4
