-- The key is that of unused.rs.
SELECT 1 AS one FROM pg_advisory_xact_lock_shared(7882551027758495333);
SELECT number FROM last_removal
