-- As names.sql.
WITH wanted AS MATERIALIZED (
    SELECT w.*, o.id
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w (target_id, source, source_type, place)
    LEFT JOIN series_owners o
        ON o.target_id = w.target_id AND o.source = w.source AND o.source_type = w.source_type
), written AS (
    INSERT INTO series_owners (target_id, source, source_type)
    SELECT target_id, source, source_type FROM wanted WHERE id IS NULL ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id, target_id, source, source_type
)
SELECT id, place, NULL, NULL, NULL FROM wanted WHERE id IS NOT NULL
UNION ALL
SELECT id, NULL, target_id, source, source_type FROM written
