SELECT target_id, series_ids FROM frames WHERE layout IS NULL AND time >= $1 AND time < $2
