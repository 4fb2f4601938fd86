-- Rows are locked in order of id, so that processes that share targets do not deadlock.
WITH new AS (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::float8[], $7::int8[])
        AS n (target_id, status, reason, error, last_scrape, duration_ms, samples)
), locked AS (
    SELECT id FROM metric_targets WHERE target_id = ANY($1) ORDER BY target_id FOR NO KEY UPDATE
)
UPDATE metric_targets t
SET health_status = new.status, health_reason = new.reason, health_error = new.error, last_scrape = new.last_scrape,
    scrape_duration_ms = new.duration_ms, samples_scraped = new.samples
FROM new, locked
WHERE t.id = locked.id AND t.target_id = new.target_id AND t.enabled
  AND (t.last_scrape IS NULL OR new.last_scrape >= t.last_scrape)
