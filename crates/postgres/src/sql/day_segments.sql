SELECT s.time, s.series, s.origin, coalesce(s.offsets, t.offsets), s."values", s.histograms, s.packed,
       s.level, s.slope, s.scale, s.low1, s.low2, s.low4, s.high
FROM segments_daily s
LEFT JOIN timelines t ON t.id = s.timeline
WHERE s.series = ANY($1) AND s.time = $2
