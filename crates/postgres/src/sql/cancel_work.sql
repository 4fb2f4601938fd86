WITH found AS (
    SELECT id, state IN ('receiving', 'queued') AS waits FROM work
    WHERE id = $1 AND state IN ('receiving', 'queued', 'running')
    FOR UPDATE
), emptied AS (
    DELETE FROM work_bytes USING found WHERE work_bytes.work = found.id AND found.waits
)
UPDATE work
SET cancelling = true, updated_at = clock_timestamp(),
    state = CASE WHEN found.waits THEN 'cancelled' ELSE work.state END,
    content = CASE WHEN found.waits THEN NULL ELSE content END
FROM found
WHERE work.id = found.id
