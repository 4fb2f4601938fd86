DELETE FROM segments WHERE series = ANY($1) AND time >= $2 AND time < $3
