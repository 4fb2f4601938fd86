UPDATE work
SET due = clock_timestamp() + make_interval(secs => $3), updated_at = clock_timestamp(),
    progress = coalesce($4, progress), tries = CASE WHEN $4 IS NULL THEN tries ELSE 1 END
WHERE id = $1 AND claim = $2 AND state = 'running'
RETURNING cancelling
