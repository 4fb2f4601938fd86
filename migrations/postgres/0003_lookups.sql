-- What is said beside samples, and which transaction made a series known.

-- Whoever follows series asks for rows whose transaction was not visible in the snapshot that it saw last.
ALTER TABLE series ADD COLUMN added xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX series_added ON series (added);

-- The hash of the labels is in the key, as labels may be too long for an index.
CREATE TABLE exemplars (
    series      bigint NOT NULL,
    time        timestamptz NOT NULL,
    labels_hash bigint NOT NULL,
    value       double precision NOT NULL,
    labels      jsonb NOT NULL,
    target_id   varchar(100) NOT NULL,
    PRIMARY KEY (series, time, labels_hash)
);

CREATE INDEX exemplars_time ON exemplars (time);

-- Each different statement of a family once; seen is when a process last met it as news.
CREATE TABLE families (
    family      varchar(200) COLLATE "C" NOT NULL,
    metric_type varchar(20) NOT NULL,
    help        text NOT NULL,
    unit        text NOT NULL,
    seen        timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX families_statement ON families (family, metric_type, md5(help), md5(unit));

INSERT INTO families (family, metric_type, help, unit)
SELECT DISTINCT
    CASE metric_type
        WHEN 'HISTOGRAM' THEN regexp_replace(metric_name, '(.)(_bucket|_sum|_count)$', '\1')
        WHEN 'SUMMARY' THEN regexp_replace(metric_name, '(.)(_sum|_count)$', '\1')
        ELSE metric_name
    END,
    metric_type, coalesce(help, ''), coalesce(unit, '')
FROM series
WHERE metric_type <> 'CUSTOM' OR help IS NOT NULL OR unit IS NOT NULL;
