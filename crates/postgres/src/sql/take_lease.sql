INSERT INTO relay_lease (holder, expires)
VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second')
ON CONFLICT (single) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
WHERE relay_lease.holder = excluded.holder OR relay_lease.expires <= clock_timestamp()
RETURNING holder
