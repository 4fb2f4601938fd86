-- Of all series where $1 is null.
SELECT series, time, value, labels
FROM exemplars
WHERE time >= $2 AND time <= $3 AND ($1::int8[] IS NULL OR series = ANY($1))
