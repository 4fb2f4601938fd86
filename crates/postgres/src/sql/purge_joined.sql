DELETE FROM joined_pushes
WHERE id IN (
    SELECT id FROM joined_pushes
    WHERE started < greatest($1, now() - interval '1 hour')
    ORDER BY started
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
