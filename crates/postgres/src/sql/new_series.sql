-- Series of transactions that the snapshot $1 did not see, in whatever order they committed; one row without a series
-- where there is none. The upper bound leaves out rows that another server wrote, whose numbers are still to come here.
-- $2 is the last removal that was seen; the first row tells what was removed since. $3 are the transactions of this
-- process whose series it knows.
SELECT now.snapshot::text, now.started, now.removal,
       CASE WHEN now.removal > $2 AND row_number() OVER () = 1
            THEN ARRAY(SELECT r.id FROM removals r WHERE r.number > $2 AND NOT r.layout) END,
       s.id, n.metric_name, n.metric_type, s.labels || o.labels, o.source
FROM (
    SELECT pg_current_snapshot() AS snapshot, pg_postmaster_start_time() AS started,
           (SELECT number FROM last_removal) AS removal
) AS now
LEFT JOIN (
    series_rows s
    JOIN series_names n ON n.id = s.name
    JOIN series_holders o ON o.id = s.owner
)
    ON s.added >= pg_snapshot_xmin($1::text::pg_snapshot)
    AND s.added < pg_snapshot_xmax(now.snapshot)
    AND NOT pg_visible_in_snapshot(s.added, $1::text::pg_snapshot)
    AND s.added <> ALL($3::text[]::xid8[])
