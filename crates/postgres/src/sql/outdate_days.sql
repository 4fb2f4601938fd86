-- What was rolled up of these days no longer says all, unless nothing else is left of them.
DELETE FROM rolled_days WHERE day >= $1 AND day <= $2 AND state < 2
