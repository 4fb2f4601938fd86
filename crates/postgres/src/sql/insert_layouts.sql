-- Layouts differ in length, so they come as slices of one array.
INSERT INTO layouts (id, series)
SELECT id, ($4::int8[])[first:last]
FROM unnest($1::int8[], $2::int4[], $3::int4[]) AS new (id, first, last)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id
