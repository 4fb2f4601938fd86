-- What is unsettled and who is next to run out is told of the others, as they were before this statement, and of this one as it
-- is now.
WITH renewed AS (
    UPDATE workers
    SET process = $2, weight = $3, draining = $4, targets = $5, samples_per_second = $6, capacity = $7,
        known = $8, renewed = clock_timestamp(), expires = clock_timestamp() + $9::float8 * interval '1 second'
    WHERE member = $1
    RETURNING placed, expires
)
SELECT metricsd_now() AS now,
       ring.epoch,
       $4 OR NOT renewed.placed OR EXISTS (
           SELECT FROM workers
           WHERE member <> $1 AND (NOT placed OR draining OR expires <= clock_timestamp())
       ) AS unsettled,
       floor(extract(epoch FROM least(
           renewed.expires, (SELECT min(expires) FROM workers WHERE member <> $1)
       )) * 1000)::bigint AS next_expiry,
       NOT EXISTS (SELECT FROM workers WHERE member <> $1) AS alone
FROM renewed, ring
