SELECT t.targets, t.healthy, c.samples, j.jobs, j.failed, j.stored, j.scrapes, j.scrape_ms
FROM (
    SELECT count(*) AS targets, count(*) FILTER (WHERE health_status = 'healthy') AS healthy
    FROM metric_targets
    WHERE NOT deleting
) t, (
    SELECT coalesce(sum(samples), 0)::int8 AS samples FROM counters
) c, (
    SELECT count(*) AS jobs,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           coalesce(sum(stored), 0)::int8 AS stored,
           count(collection_duration_ms) FILTER (WHERE collection_method = 'PULL_SCRAPING') AS scrapes,
           coalesce(sum(collection_duration_ms) FILTER (WHERE collection_method = 'PULL_SCRAPING'), 0) AS scrape_ms
    FROM collection_jobs
    WHERE created_at > $1 AND created_at <= $2
) j
