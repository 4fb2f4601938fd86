WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
INSERT INTO metric_targets AS t (
    target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
    retention_policy, health_status, origin, expires, revision
)
SELECT $1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $8, $9::text::jsonb, $10::text::jsonb,
       CASE WHEN $6 THEN 'unknown' ELSE 'disabled' END, 'registered',
       date_trunc('milliseconds', clock_timestamp() + $11::float8 * interval '1 second'), next.revision
FROM next
ON CONFLICT (target_id) DO UPDATE
SET target_url = excluded.target_url, source_type = excluded.source_type, scrape_config = excluded.scrape_config,
    labels = excluded.labels, enabled = excluded.enabled, source_id = excluded.source_id,
    collection_method = excluded.collection_method, filters = excluded.filters,
    retention_policy = excluded.retention_policy, expires = excluded.expires, revision = excluded.revision,
    health_status = CASE
        WHEN t.enabled = excluded.enabled THEN t.health_status
        WHEN excluded.enabled THEN 'unknown'
        ELSE 'disabled'
    END,
    health_reason = CASE WHEN t.enabled = excluded.enabled THEN t.health_reason END,
    health_error = CASE WHEN t.enabled = excluded.enabled THEN t.health_error END,
    deleting = false
WHERE t.origin = 'registered'
RETURNING t.*, xmax = 0 AS fresh
