INSERT INTO series_rows (id, name, owner, labels)
SELECT id, name, owner, labels::jsonb
FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::text[]) AS new (id, name, owner, labels)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id
