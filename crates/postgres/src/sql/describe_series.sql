WITH new AS (
    SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[]) AS n (id, metric_type, help, unit)
), locked AS (
    SELECT s.id FROM series s WHERE s.id = ANY($1) ORDER BY s.id FOR NO KEY UPDATE
)
UPDATE series
SET metric_type = new.metric_type, help = coalesce(new.help, series.help), unit = coalesce(new.unit, series.unit),
    added = pg_current_xact_id()  -- whoever follows series reads it again
FROM new JOIN locked ON locked.id = new.id
WHERE series.id = new.id
