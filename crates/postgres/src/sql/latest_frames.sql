WITH newest AS (
    SELECT batch_id
    FROM frames
    WHERE target_id = $1 AND time >= $2
    ORDER BY time DESC, seq DESC
    LIMIT 1
)
SELECT f.time, f.seq, f.part, f.histograms, coalesce(f.series_ids, l.series), f."values", f.offsets
FROM newest
JOIN frames f ON f.batch_id = newest.batch_id
LEFT JOIN layouts l ON l.id = f.layout
WHERE f.time >= $2
