SELECT pg_current_snapshot()::text, pg_postmaster_start_time()
