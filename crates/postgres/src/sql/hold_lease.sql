SELECT 1
FROM relay_lease
WHERE holder = $1 AND expires > clock_timestamp() + $2::float8 * interval '1 second'
