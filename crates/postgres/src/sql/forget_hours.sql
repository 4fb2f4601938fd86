DELETE FROM spans p
WHERE NOT daily AND time >= $1 AND time < $2
  AND NOT EXISTS (SELECT FROM segments s WHERE s.time = p.time AND s.origin = p.origin)
  AND NOT EXISTS (
      SELECT FROM (
          SELECT DISTINCT g.time, m.origin
          FROM segments_constant g
          CROSS JOIN LATERAL unnest(g.origins) AS m (origin)
          WHERE g.time >= $1 AND g.time < $2
      ) AS held
      WHERE held.time = p.time AND held.origin = p.origin
  )
