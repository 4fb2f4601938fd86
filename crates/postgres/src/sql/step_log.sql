-- A position that is not what the caller believes stays, and its row does not come back.
INSERT INTO log_positions (log, "partition", next)
VALUES ($1, $2, $4)
ON CONFLICT (log, "partition") DO UPDATE SET next = excluded.next
WHERE log_positions.next = $3
