INSERT INTO exemplars (series, time, labels_hash, value, labels, target_id)
SELECT series, time, labels_hash, value, labels::jsonb, target_id
FROM unnest($1::int8[], $2::timestamptz[], $3::int8[], $4::float8[], $5::text[], $6::text[])
    AS new (series, time, labels_hash, value, labels, target_id)
ORDER BY series, time, labels_hash
ON CONFLICT DO NOTHING
