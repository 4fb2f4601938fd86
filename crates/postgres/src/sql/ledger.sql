-- Sums by hour, target and source: of the rows that are kept, and of those that were removed.
SELECT (floor(extract(epoch FROM created_at) / 3600) * 3600000)::int8 AS hour, target_id, source_id,
       count(*)::int8 AS collections,
       count(*) FILTER (WHERE status = 'failed')::int8 AS failed,
       count(*) FILTER (WHERE waited = 'spool')::int8 AS spooled,
       count(*) FILTER (WHERE waited = 'log')::int8 AS logged,
       sum(received)::int8 AS received, sum(dropped)::int8 AS dropped,
       sum(stored)::int8 AS stored, sum(added)::int8 AS added
FROM collection_jobs
WHERE created_at >= $1 AND created_at < $2 AND ($3::text IS NULL OR target_id = $3)
GROUP BY 1, 2, 3
UNION ALL
SELECT (extract(epoch FROM hour) * 1000)::int8, target_id, source_id,
       collections, failed, spooled, logged, received, dropped, stored, added
FROM ledger_hours
WHERE hour > $1 - interval '1 hour' AND hour < $2 AND ($3::text IS NULL OR target_id = $3)
LIMIT $4
