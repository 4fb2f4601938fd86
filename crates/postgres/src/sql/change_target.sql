WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
UPDATE metric_targets t
SET enabled = coalesce($2, t.enabled),
    labels = coalesce($3::text::jsonb, t.labels),
    health_status = CASE
        WHEN coalesce($2, t.enabled) = t.enabled THEN t.health_status
        WHEN $2 THEN 'unknown'
        ELSE 'disabled'
    END,
    health_reason = CASE WHEN coalesce($2, t.enabled) = t.enabled THEN t.health_reason END,
    health_error = CASE WHEN coalesce($2, t.enabled) = t.enabled THEN t.health_error END,
    revision = next.revision
FROM next
WHERE t.target_id = $1 AND NOT t.deleting AND t.origin <> 'discovered'
RETURNING t.*
