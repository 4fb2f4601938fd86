UPDATE metric_targets t
SET expires = date_trunc('milliseconds', clock_timestamp() + $11::float8 * interval '1 second')
WHERE t.target_id = $1 AND t.origin = 'registered' AND NOT t.deleting
  AND t.target_url = $2 AND t.source_type = $3 AND t.scrape_config = $4::text::jsonb AND t.labels = $5::text::jsonb
  AND t.enabled = $6 AND t.source_id = $7 AND t.collection_method = $8 AND t.filters = $9::text::jsonb
  AND t.retention_policy IS NOT DISTINCT FROM $10::text::jsonb
RETURNING t.*, false AS fresh
