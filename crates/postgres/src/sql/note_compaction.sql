INSERT INTO compactions (span, start, emptied)
VALUES ($1, $2, pg_current_xact_id())
ON CONFLICT (span, start) DO UPDATE SET emptied = excluded.emptied, at = excluded.at
