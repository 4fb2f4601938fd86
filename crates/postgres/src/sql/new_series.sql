-- Series of transactions that the snapshot $1 did not see, in whatever order they committed; one row without a series
-- where there is none. The upper bound leaves out rows that another server wrote, whose numbers are still to come here.
SELECT now.snapshot::text, now.started, s.id, s.metric_name, s.metric_type, s.labels, s.source
FROM (SELECT pg_current_snapshot() AS snapshot, pg_postmaster_start_time() AS started) AS now
LEFT JOIN series s
    ON s.added >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND s.added < pg_snapshot_xmax(now.snapshot)
    AND NOT pg_visible_in_snapshot(s.added, $1::text::pg_snapshot)
