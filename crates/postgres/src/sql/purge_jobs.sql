DELETE FROM collection_jobs
WHERE id IN (SELECT id FROM collection_jobs WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING *
