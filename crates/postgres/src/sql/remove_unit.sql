DELETE FROM frames WHERE time >= $1 AND time < $2 AND target_id = ANY($3)
