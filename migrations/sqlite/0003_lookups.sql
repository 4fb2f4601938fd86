-- What is said beside samples, and the order in which series became known.

-- Grows with every commit that writes series: whoever follows them asks for what came after the last that it saw.
ALTER TABLE series ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
CREATE INDEX series_added ON series (added);

CREATE TABLE exemplars (
    series      INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    labels_hash INTEGER NOT NULL,
    value       INTEGER NOT NULL,  -- the bits of the float: SQLite has no NaN
    labels      TEXT NOT NULL CHECK (json_valid(labels)),
    target_id   TEXT NOT NULL CHECK (length(target_id) <= 100),
    UNIQUE (series, time, labels_hash)
);

CREATE INDEX exemplars_time ON exemplars (time);

-- Each different statement of a family once; seen is when a process last met it as news.
CREATE TABLE families (
    family      TEXT NOT NULL CHECK (length(family) <= 200),
    metric_type TEXT NOT NULL CHECK (length(metric_type) <= 20),
    help        TEXT NOT NULL,
    unit        TEXT NOT NULL,
    seen        INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    UNIQUE (family, metric_type, help, unit)
);

INSERT INTO families (family, metric_type, help, unit)
SELECT DISTINCT
    CASE
        WHEN metric_type = 'HISTOGRAM' AND metric_name GLOB '?*_bucket' THEN substr(metric_name, 1, length(metric_name) - 7)
        WHEN metric_type IN ('HISTOGRAM', 'SUMMARY') AND metric_name GLOB '?*_sum' THEN substr(metric_name, 1, length(metric_name) - 4)
        WHEN metric_type IN ('HISTOGRAM', 'SUMMARY') AND metric_name GLOB '?*_count' THEN substr(metric_name, 1, length(metric_name) - 6)
        ELSE metric_name
    END,
    metric_type, coalesce(help, ''), coalesce(unit, '')
FROM series
WHERE metric_type <> 'CUSTOM' OR help IS NOT NULL OR unit IS NOT NULL;
