-- As old_frames.sql, of all targets but those of $1.
SELECT time, batch_id
FROM frames
WHERE target_id <> ALL ($1::text[]) AND time < $2
  AND (offsets IS NULL OR time <= $3)
ORDER BY time
LIMIT $4
