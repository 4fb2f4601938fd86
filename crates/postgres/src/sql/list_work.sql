SELECT * FROM work
WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR source_id = $3)
ORDER BY created_at DESC, id
LIMIT $4
