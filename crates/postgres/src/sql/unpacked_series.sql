-- The next series of a day that are to be packed, with their samples.
SELECT series, sum(samples)::int8
FROM (
    (
        SELECT series, sum(cardinality(coalesce(g.offsets, t.offsets))) AS samples
        FROM segments g
        LEFT JOIN timelines t ON t.id = g.timeline
        WHERE time >= $1 AND time < $2 AND series >= $3
        GROUP BY series ORDER BY series LIMIT $4
    )
    UNION ALL
    (
        SELECT series, samples
        FROM segments_daily
        WHERE packed IS NULL AND time = $1 AND series >= $3
        ORDER BY series LIMIT $4
    )
) AS unpacked
GROUP BY series
ORDER BY series
LIMIT $4
