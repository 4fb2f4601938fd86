INSERT INTO access_tokens (id, name, digest, rights, source_id, quota, created_at, expires_at, revoked_at, last_used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
