SELECT DISTINCT l.id
FROM layouts l
CROSS JOIN LATERAL unnest(l.series) AS s (id)
JOIN unnest($1::int8[]) AS w (id) ON w.id = s.id
