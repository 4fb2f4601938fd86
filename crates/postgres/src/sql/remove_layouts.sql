-- Looked at once more, now that nobody appends.
DELETE FROM layouts l
WHERE l.id = ANY($1) AND NOT EXISTS (SELECT FROM frames f WHERE f.layout = l.id)
RETURNING l.id
