SELECT time, seq, part, histograms, series_ids, "values", offsets
FROM frames
WHERE layout IS NULL
  AND time >= $1 AND time <= $3
  AND (time >= $2 OR offsets IS NOT NULL)
