SELECT time FROM frames WHERE time >= $1 AND time < $2 ORDER BY time LIMIT 1
