DELETE FROM frames
WHERE target_id <> ALL ($1::text[]) AND time >= $2 AND time <= $3
  AND (offsets IS NULL OR time < $4)
  AND batch_id = ANY($5)
