SELECT key, series, level, origins, timelines
FROM segments_constant
WHERE key = ANY ($1) AND time = $2
