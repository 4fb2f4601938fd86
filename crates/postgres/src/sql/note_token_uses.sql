UPDATE access_tokens t
SET last_used_at = greatest(t.last_used_at, used.at)
FROM (SELECT id, max(at) AS at FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at) GROUP BY id) used
WHERE t.id = used.id
