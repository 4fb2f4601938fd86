UPDATE series_rows r
SET name = new.name, added = pg_current_xact_id()  -- whoever follows series reads it again
FROM unnest($1::int8[], $2::int4[]) AS new (id, name)
WHERE r.id = new.id
