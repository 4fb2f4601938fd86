INSERT INTO processes (id, roles, listen, version, expires)
VALUES ($1, $2, $3, $4, clock_timestamp() + $5::float8 * interval '1 second')
ON CONFLICT (id) DO UPDATE
SET roles = excluded.roles, listen = excluded.listen, version = excluded.version, expires = excluded.expires
