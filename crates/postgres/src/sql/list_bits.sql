-- How many bits lead to lists: each number that there is, found by its index. What follows in this transaction is to use
-- indexes: the planner takes reading every list for cheap.
WITH RECURSIVE there (bits) AS (
    SELECT 11::int2
    UNION ALL
    SELECT (SELECT min(l.bits) FROM layouts l WHERE l.bits > 11 AND l.bits > there.bits) FROM there WHERE bits IS NOT NULL
)
SELECT ARRAY(SELECT bits FROM there WHERE bits IS NOT NULL), set_config('enable_seqscan', 'off', true)
