SELECT p.daily, max(p.time), array_agg(DISTINCT p.origin)
FROM origins o
CROSS JOIN LATERAL (
    (SELECT origin, daily, time FROM spans WHERE origin = o.id AND NOT daily ORDER BY time DESC LIMIT 1)
    UNION ALL
    (SELECT origin, daily, time FROM spans WHERE origin = o.id AND daily ORDER BY time DESC LIMIT 1)
) AS p
WHERE o.target_id = $1
GROUP BY p.daily
