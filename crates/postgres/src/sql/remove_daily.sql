DELETE FROM segments_daily WHERE series = ANY($1) AND time = $2
