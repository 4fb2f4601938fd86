INSERT INTO work (id, kind, state, source_id, spec, content, max_tries, keep)
VALUES ($1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8))
ON CONFLICT DO NOTHING
RETURNING *
