-- Work that waits no longer: somebody asked for it to stop, or it was tried too often.
WITH over AS (
    SELECT id, cancelling FROM work
    WHERE state IN ('queued', 'running') AND kind = ANY($1) AND due <= clock_timestamp()
        AND (cancelling OR tries >= max_tries)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), emptied AS (
    DELETE FROM work_bytes USING over WHERE work_bytes.work = over.id
)
UPDATE work
SET state = CASE WHEN over.cancelling THEN 'cancelled' ELSE 'dead' END, worker = NULL, content = NULL,
    error = CASE WHEN over.cancelling THEN error ELSE coalesce(error, $2) END, updated_at = clock_timestamp()
FROM over
WHERE work.id = over.id
