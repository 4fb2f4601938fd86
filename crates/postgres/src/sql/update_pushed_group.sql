UPDATE pushed_groups
SET version = $2, labels = $3::text::jsonb, source_id = $4, series = $5, bytes = $6, pushed_at = $7, failed_at = $8,
    expire_after = $9, families = $10
WHERE id = $1 AND version = $11
