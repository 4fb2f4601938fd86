INSERT INTO workers (
    member, process, weight, draining, targets, samples_per_second, capacity, known, renewed, expires
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), clock_timestamp() + $9::float8 * interval '1 second')
ON CONFLICT (member) DO NOTHING
