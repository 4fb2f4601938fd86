-- The numbers of owners, as names.sql finds or writes those of names; those that were written by their place, too.
WITH wanted AS MATERIALIZED (
    SELECT w.target_id, w.source, w.source_type, w.labels::jsonb AS labels, w.place, o.id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
        AS w (target_id, source, source_type, labels, place)
    LEFT JOIN series_holders o
        ON o.target_id = w.target_id AND o.source = w.source AND o.source_type = w.source_type
        AND metricsd_owner_hash(o.labels) = metricsd_owner_hash(w.labels::jsonb) AND o.labels = w.labels::jsonb
), written AS (
    INSERT INTO series_holders (target_id, source, source_type, labels)
    SELECT target_id, source, source_type, labels FROM wanted WHERE id IS NULL ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING id, target_id, source, source_type, labels
)
SELECT id, place FROM wanted WHERE id IS NOT NULL
UNION ALL
SELECT n.id, w.place FROM written n JOIN wanted w USING (target_id, source, source_type, labels)
