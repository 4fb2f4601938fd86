-- Of names $2 and owners $3, which no series had: only series that were marked by transaction $1 or later may have them
-- now, as nobody appends.
WITH fresh AS MATERIALIZED (
    SELECT name, owner FROM series_rows WHERE added >= $1::text::xid8
), names AS (
    DELETE FROM series_names WHERE id = ANY($2) AND id NOT IN (SELECT name FROM fresh) RETURNING id
), owners AS (
    DELETE FROM series_owners WHERE id = ANY($3) AND id NOT IN (SELECT owner FROM fresh) RETURNING id
)
UPDATE last_removal
SET texts = texts + 1
WHERE EXISTS (SELECT FROM names) OR EXISTS (SELECT FROM owners)
