-- Of names $2 and owners $3, which no series had: only series that were marked by transaction $1 or later may have them
-- now, as nobody appends.
WITH fresh AS MATERIALIZED (
    SELECT name, owner FROM series_rows WHERE added >= $1::text::xid8
), names AS (
    DELETE FROM series_names n
    USING (SELECT unnest($2::int4[]) EXCEPT SELECT name FROM fresh) AS unused (id)
    WHERE n.id = unused.id
    RETURNING n.id
), owners AS (
    DELETE FROM series_holders o
    USING (SELECT unnest($3::int4[]) EXCEPT SELECT owner FROM fresh) AS unused (id)
    WHERE o.id = unused.id
    RETURNING o.id
)
UPDATE last_removal
SET texts = texts + 1
WHERE EXISTS (SELECT FROM names) OR EXISTS (SELECT FROM owners)
