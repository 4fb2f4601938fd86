-- $3: the state that the outcome asks for; a failed try is dead where it was the last one.
WITH ended AS (
    UPDATE work
    SET state = CASE WHEN $3 = 'failed' THEN CASE WHEN tries >= max_tries THEN 'dead' ELSE 'queued' END
                     WHEN $3 = 'released' THEN 'queued' ELSE $3 END,
        tries = CASE WHEN $3 = 'released' THEN greatest(tries - 1, 0) ELSE tries END,
        content = CASE WHEN $3 IN ('dead', 'cancelled') OR ($3 = 'failed' AND tries >= max_tries) THEN NULL ELSE content END,
        error = CASE WHEN $3 = 'done' THEN NULL ELSE coalesce($4, error) END,
        progress = coalesce($5, progress),
        worker = NULL, updated_at = clock_timestamp(), due = clock_timestamp() + make_interval(secs => $6)
    WHERE id = $1 AND claim = $2 AND state = 'running'
    RETURNING id, state
), emptied AS (
    DELETE FROM work_bytes USING ended
    WHERE work_bytes.work = ended.id AND ended.state IN ('done', 'dead', 'cancelled')
)
SELECT id FROM ended
