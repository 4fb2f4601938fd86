SELECT id, job, started FROM joined_pushes WHERE id = ANY($1)
UNION ALL
SELECT id, id, created_at
FROM collection_jobs j
WHERE id = ANY($1) AND NOT EXISTS (SELECT FROM joined_pushes p WHERE p.id = j.id)
