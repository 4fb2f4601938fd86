SELECT l.id
FROM layouts l
WHERE l.first_seen < $1 AND NOT EXISTS (SELECT FROM frames f WHERE f.layout = l.id)
LIMIT $2
