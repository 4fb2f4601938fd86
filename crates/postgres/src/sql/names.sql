-- The numbers of names; those that are new are written, in their order, and answered by their texts. One that another is
-- writing is waited for, and found when this is asked again. Texts are compared by what the index has of them.
WITH wanted AS MATERIALIZED (
    SELECT w.*, n.id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
        AS w (metric_name, metric_type, help, unit, place)
    LEFT JOIN series_names n
        ON n.metric_name = w.metric_name AND n.metric_type = w.metric_type
        AND coalesce(md5(n.help), '') = coalesce(md5(w.help), '')
        AND coalesce(md5(n.unit), '') = coalesce(md5(w.unit), '')
), written AS (
    INSERT INTO series_names (metric_name, metric_type, help, unit)
    SELECT metric_name, metric_type, help, unit FROM wanted WHERE id IS NULL ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id, metric_name, metric_type, help, unit
)
SELECT id, place, NULL, NULL, NULL, NULL FROM wanted WHERE id IS NOT NULL
UNION ALL
SELECT id, NULL, metric_name, metric_type, help, unit FROM written
