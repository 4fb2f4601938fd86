INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit)
SELECT id, metric_name, metric_type, labels::jsonb, source, target_id, source_type, help, unit
FROM unnest(
    $1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]
) AS new (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id
