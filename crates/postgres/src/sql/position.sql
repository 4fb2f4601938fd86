SELECT pg_current_snapshot()::text, pg_postmaster_start_time(), (SELECT number FROM last_removal)
