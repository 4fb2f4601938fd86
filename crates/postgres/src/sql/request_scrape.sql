WITH next AS (
    UPDATE catalogue SET revision = revision + 1 RETURNING revision
)
UPDATE metric_targets t
SET scrape_requested = $2, revision = next.revision
FROM next
WHERE t.target_id = $1 AND NOT t.deleting
RETURNING t.*
