DELETE FROM frames
WHERE target_id = $1 AND time >= $2 AND time <= $3
  AND (offsets IS NULL OR time < $4)
  AND batch_id = ANY($5)
