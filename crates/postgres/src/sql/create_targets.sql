-- Many at once, for one revision each: the one lock of the revisions, and one flush, serve all. Those that exist are
-- passed over, as is the second of two with one id.
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::text[], $8::text[], $9::text[],
        $10::text[]
    ) WITH ORDINALITY AS w (
        target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
        retention_policy, place
    )
), next AS (
    UPDATE catalogue SET revision = revision + cardinality($1::text[]) RETURNING revision
)
INSERT INTO metric_targets (
    target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
    retention_policy, health_status, revision
)
SELECT w.target_id, w.target_url, w.source_type, w.scrape_config::jsonb, w.labels::jsonb, w.enabled, w.source_id,
       w.collection_method, w.filters::jsonb, w.retention_policy::jsonb,
       CASE WHEN w.enabled THEN 'unknown' ELSE 'disabled' END,
       next.revision - cardinality($1::text[]) + w.place
FROM wanted w, next
ORDER BY w.place
ON CONFLICT (target_id) DO NOTHING
RETURNING *
