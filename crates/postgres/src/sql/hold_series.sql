-- The key is that of unused.rs.
SELECT 1 AS one FROM pg_advisory_xact_lock_shared(7882551027758495333);
SELECT number, texts, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started FROM last_removal
