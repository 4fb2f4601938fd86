-- Frames between $2 and $3; $4 is the beginning of the range. A series may stand in several columns of such a frame.
SELECT f.time, f.seq, f.part, f.histograms, w.id, p.at, f."values"[p.at], f.offsets[p.at]
FROM frames f
CROSS JOIN unnest($1::int8[]) AS w (id)
CROSS JOIN LATERAL unnest(array_positions(f.series_ids, w.id)) AS p (at)
WHERE f.layout IS NULL
  AND f.time >= $2 AND f.time <= $3
  AND (f.time >= $4 OR f.offsets IS NOT NULL)
