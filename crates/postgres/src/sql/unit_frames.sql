SELECT time, seq, part, histograms, "values", offsets, layout, series_ids, target_id, source
FROM frames
WHERE time >= $1 AND time < $2 AND target_id = ANY($3)
