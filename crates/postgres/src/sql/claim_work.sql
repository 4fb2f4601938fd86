UPDATE work
SET state = 'running', tries = tries + 1, claim = claim + 1, worker = $1, updated_at = clock_timestamp(),
    due = clock_timestamp() + make_interval(secs => $3)
WHERE id = (
    SELECT id FROM work
    WHERE state IN ('queued', 'running') AND kind = ANY($2) AND due <= clock_timestamp()
        AND NOT cancelling AND tries < max_tries
    ORDER BY created_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *
