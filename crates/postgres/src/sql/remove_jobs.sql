WITH gone AS (
    SELECT id, row_number() OVER (ORDER BY target_id) AS place
    FROM metric_targets
    WHERE job IS NOT NULL AND job <> ALL ($1) AND NOT deleting
), next AS (
    UPDATE catalogue SET revision = revision + (SELECT count(*) FROM gone) RETURNING revision
)
UPDATE metric_targets t
SET deleting = true, revision = next.revision - (SELECT count(*) FROM gone) + gone.place
FROM gone, next
WHERE t.id = gone.id AND NOT t.deleting
