-- Frames all of whose samples are old; $3 is an hour before $2, for those whose samples differ in time.
SELECT time, batch_id
FROM frames
WHERE target_id = $1 AND time < $2
  AND (offsets IS NULL OR time <= $3)
ORDER BY time
LIMIT $4
