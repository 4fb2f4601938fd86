INSERT INTO pushed_groups (id, version, labels, source_id, series, bytes, pushed_at, failed_at, expire_after, families)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING
