-- Only the ids that come back are this transaction's to store. In order of id, so that writers do not deadlock.
INSERT INTO collection_jobs (
    id, job_id, target_id, collection_method, status, metrics_collected, collection_duration_ms, error_details,
    created_at, source_id, received, dropped, refused, stored, added, missed, waited
)
SELECT id, job_id, target_id, method, status, stored, duration_ms, error_details,
       created_at, source_id, received, dropped, refused::jsonb, stored, added, missed::jsonb, waited
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[],
    $8::timestamptz[], $9::text[], $10::int8[], $11::int8[], $12::text[], $13::int8[],
    $14::int8[], $15::text[], $16::text[]
) AS job (
    id, job_id, target_id, method, status, duration_ms, error_details,
    created_at, source_id, received, dropped, refused, stored, added, missed, waited
)
-- Nor is a push that was stored before, joined with others.
WHERE NOT EXISTS (SELECT FROM joined_pushes p WHERE p.id = job.id AND p.job <> p.id)
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id, seq
