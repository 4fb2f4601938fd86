WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
UPDATE metric_targets t
SET deleting = true, revision = next.revision
FROM next
WHERE t.target_id = $1 AND NOT t.deleting AND t.origin <> 'discovered'
RETURNING t.*
