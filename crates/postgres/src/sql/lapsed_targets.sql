-- What was renewed while this waited for its row is looked at again.
WITH lapsed AS (
    SELECT id, row_number() OVER (ORDER BY target_id) AS place
    FROM metric_targets
    WHERE expires <= clock_timestamp() AND NOT deleting
), next AS (
    UPDATE catalogue SET revision = revision + (SELECT count(*) FROM lapsed) RETURNING revision
)
UPDATE metric_targets t
SET deleting = true, revision = next.revision - (SELECT count(*) FROM lapsed) + lapsed.place
FROM lapsed, next
WHERE t.id = lapsed.id AND t.expires <= clock_timestamp() AND NOT t.deleting
