-- Series stand in the order in which they came, and their ids in an index: rows of ids, which are hashes, went to pages all
-- over the table, and each commit of new series wrote most of the table again. Names are found by the index in memory, and
-- labels are JSON because metricsd writes them.

CREATE TABLE series_in_order (
    seq         INTEGER PRIMARY KEY,
    id          INTEGER NOT NULL,
    metric_name TEXT NOT NULL CHECK (length(metric_name) <= 200),
    metric_type TEXT NOT NULL CHECK (length(metric_type) <= 20),
    labels      TEXT NOT NULL,  -- JSON without the metric name; compact, sorted by name
    source      TEXT NOT NULL CHECK (length(source) <= 100),
    target_id   TEXT NOT NULL CHECK (length(target_id) <= 100),
    source_type TEXT NOT NULL CHECK (length(source_type) <= 50),
    help        TEXT,
    unit        TEXT,
    first_seen  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    added       INTEGER NOT NULL DEFAULT 0
);

INSERT INTO series_in_order
    (id, metric_name, metric_type, labels, source, target_id, source_type, help, unit, first_seen, added)
SELECT id, metric_name, metric_type, labels, source, target_id, source_type, help, unit, first_seen, added
FROM series ORDER BY added;

DROP TABLE series;
ALTER TABLE series_in_order RENAME TO series;
CREATE UNIQUE INDEX series_id ON series (id);
CREATE INDEX series_added ON series (added);
