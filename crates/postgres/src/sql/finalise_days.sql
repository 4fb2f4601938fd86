-- Samples of these days are removed: what was rolled up of them is all that is left.
UPDATE rolled_days SET state = 2 WHERE day >= $1 AND day <= $2 AND state = 1
