SELECT time, seq, part, histograms, layout, "values", offsets
FROM frames
WHERE layout = ANY($1)
  AND time >= $2 AND time <= $4
  AND (time >= $3 OR offsets IS NOT NULL)
