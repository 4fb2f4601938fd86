WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
UPDATE metric_targets t
SET target_url = $2, source_type = $3, scrape_config = $4::text::jsonb, labels = $5::text::jsonb, enabled = $6,
    source_id = $7, collection_method = $8, filters = $9::text::jsonb, retention_policy = $10::text::jsonb,
    health_status = CASE WHEN t.enabled = $6 THEN t.health_status WHEN $6 THEN 'unknown' ELSE 'disabled' END,
    health_reason = CASE WHEN t.enabled = $6 THEN t.health_reason END,
    health_error = CASE WHEN t.enabled = $6 THEN t.health_error END,
    origin = 'api', expires = NULL, revision = next.revision
FROM next
WHERE t.target_id = $1 AND NOT t.deleting AND t.origin <> 'discovered'
RETURNING t.*
