-- How many rows and series stand in the hour $1 by each key.
SELECT key, count(*), sum(cardinality(series))::int8
FROM segments_constant
WHERE time = $1
GROUP BY key
