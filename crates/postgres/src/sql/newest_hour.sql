SELECT s.time, s.series, s.origin, coalesce(s.offsets, t.offsets), s."values", s.histograms, NULL::bytea,
       s.level, s.slope, s.scale, s.low1, s.low2, s.low4, s.high
FROM segments s
LEFT JOIN timelines t ON t.id = s.timeline
WHERE s.origin = ANY($1) AND s.time >= $2 AND s.time < $3
UNION ALL
SELECT g.time, m.series, m.origin, t.offsets, NULL, NULL, NULL, m.level, NULL, NULL, NULL, NULL, NULL, NULL
FROM segments_constant g
CROSS JOIN LATERAL unnest(g.series, g.level, g.origins, g.timelines) AS m (series, level, origin, timeline)
JOIN timelines t ON t.id = m.timeline
WHERE m.origin = ANY($1) AND g.time >= $2 AND g.time < $3
