WITH held AS (
    SELECT EXISTS (
               SELECT FROM workers WHERE member <> $1 AND expires > clock_timestamp()
           ) AND (
               EXISTS (SELECT FROM ring_grants WHERE owner = $1)
               OR EXISTS (SELECT FROM ring_grants WHERE previous = $1 AND since > metricsd_now())
           ) AS is_held
), deleted AS (
    DELETE FROM workers USING held WHERE member = $1 AND NOT is_held
)
UPDATE workers SET renewed = clock_timestamp(), expires = clock_timestamp()
FROM held
WHERE member = $1 AND is_held
