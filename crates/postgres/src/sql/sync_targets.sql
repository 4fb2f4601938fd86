-- $1 is the job, $2 the last revision before these. Rows come in order of id, so that processes that write health at
-- the same time do not deadlock. What stands under an id and is not the job's is left alone.
WITH found AS (
    SELECT *
    FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::text[], $10::text[], $11::text[],
        $12::text[], $13::text[], $14::int8[], $15::boolean[]
    ) WITH ORDINALITY AS f (
        target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
        retention_policy, provider, fingerprint, prompt, place
    )
)
INSERT INTO metric_targets AS t (
    target_id, target_url, source_type, scrape_config, labels, enabled, source_id, collection_method, filters,
    retention_policy, health_status, revision, origin, job, provider, fingerprint, scrape_requested
)
SELECT target_id, target_url, source_type, scrape_config::jsonb, labels::jsonb, enabled, source_id, collection_method,
       filters::jsonb, retention_policy::jsonb, CASE WHEN enabled THEN 'unknown' ELSE 'disabled' END, $2 + place,
       'discovered', $1, provider, fingerprint,
       CASE WHEN prompt THEN date_trunc('milliseconds', clock_timestamp()) END
FROM found
ORDER BY place
ON CONFLICT (target_id) DO UPDATE
SET target_url = excluded.target_url, source_type = excluded.source_type, scrape_config = excluded.scrape_config,
    labels = excluded.labels, enabled = excluded.enabled, source_id = excluded.source_id,
    collection_method = excluded.collection_method, filters = excluded.filters,
    retention_policy = excluded.retention_policy, provider = excluded.provider, fingerprint = excluded.fingerprint,
    revision = excluded.revision, deleting = false,
    scrape_requested = coalesce(excluded.scrape_requested, t.scrape_requested)
WHERE t.job = excluded.job
