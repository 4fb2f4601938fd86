-- The revision is taken in the statement that writes the target: its lock is held until the commit. It is taken in
-- vain where the id exists, which leaves a gap and nothing else.
WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
INSERT INTO metric_targets (
    target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
    retention_policy, health_status, revision
)
SELECT $1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $8, $9::text::jsonb, $10::text::jsonb,
       CASE WHEN $6 THEN 'unknown' ELSE 'disabled' END, next.revision
FROM next
ON CONFLICT (target_id) DO NOTHING
RETURNING *
