-- What ledger.sql leaves out: counts by reason, of samples that were refused and of scrapes that were not done.
SELECT (floor(extract(epoch FROM created_at) / 3600) * 3600000)::int8 AS hour, target_id, source_id,
       kind, key, sum(value::int8)::int8 AS count
FROM collection_jobs,
     LATERAL (
         SELECT 'refused' AS kind, * FROM jsonb_each_text(refused)
         UNION ALL
         SELECT 'missed', * FROM jsonb_each_text(coalesce(missed, '{}'))
     ) AS reasons
WHERE created_at >= $1 AND created_at < $2 AND ($3::text IS NULL OR target_id = $3)
  AND (refused <> '{}' OR missed IS NOT NULL)
GROUP BY 1, 2, 3, 4, 5
UNION ALL
SELECT (extract(epoch FROM hour) * 1000)::int8, target_id, source_id, kind, key, value::int8
FROM ledger_hours,
     LATERAL (
         SELECT 'refused' AS kind, * FROM jsonb_each_text(refused)
         UNION ALL
         SELECT 'missed', * FROM jsonb_each_text(missed)
     ) AS reasons
WHERE hour > $1 - interval '1 hour' AND hour < $2 AND ($3::text IS NULL OR target_id = $3)
