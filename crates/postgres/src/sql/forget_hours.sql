DELETE FROM spans p
WHERE NOT daily AND time >= $1 AND time < $2
  AND NOT EXISTS (SELECT FROM segments s WHERE s.time = p.time AND s.origin = p.origin)
  AND NOT EXISTS (SELECT FROM segments_constant g WHERE g.time = p.time AND p.origin = ANY (g.origins))
