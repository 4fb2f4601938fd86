-- What ledger.sql answers for a range, in one sum.
SELECT coalesce(sum(collections), 0)::int8 AS collections, coalesce(sum(failed), 0)::int8 AS failed,
       coalesce(sum(spooled), 0)::int8 AS spooled, coalesce(sum(logged), 0)::int8 AS logged,
       coalesce(sum(received), 0)::int8 AS received, coalesce(sum(dropped), 0)::int8 AS dropped,
       coalesce(sum(stored), 0)::int8 AS stored, coalesce(sum(added), 0)::int8 AS added
FROM (
    SELECT count(*) AS collections,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE waited = 'spool') AS spooled,
           count(*) FILTER (WHERE waited = 'log') AS logged,
           sum(received) AS received, sum(dropped) AS dropped, sum(stored) AS stored, sum(added) AS added
    FROM collection_jobs
    WHERE created_at >= $1 AND created_at < $2 AND ($3::text IS NULL OR target_id = $3)
    UNION ALL
    SELECT sum(collections), sum(failed), sum(spooled), sum(logged),
           sum(received), sum(dropped), sum(stored), sum(added)
    FROM ledger_hours
    WHERE hour > $1 - interval '1 hour' AND hour < $2 AND ($3::text IS NULL OR target_id = $3)
) AS parts
