-- $9: so much may be receiving.
INSERT INTO work (id, kind, state, source_id, spec, content, max_tries, keep)
SELECT $1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8)
WHERE $3 <> 'receiving' OR (SELECT count(*) FROM work WHERE state = 'receiving') < $9
ON CONFLICT DO NOTHING
RETURNING *
