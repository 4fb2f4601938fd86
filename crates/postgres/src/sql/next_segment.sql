SELECT least(
    (SELECT time FROM segments WHERE time >= $1 ORDER BY time LIMIT 1),
    (SELECT time FROM segments_constant WHERE time >= $1 ORDER BY time LIMIT 1),
    (SELECT time FROM segments_daily WHERE time >= $1 ORDER BY time LIMIT 1)
)
