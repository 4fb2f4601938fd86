-- What many series have in common is written once: a name with its description, and whose series they are with the labels
-- that say so. See docs/decisions/0023.

CREATE TABLE series_names (
    id          INTEGER PRIMARY KEY,
    metric_name TEXT NOT NULL CHECK (length(metric_name) <= 200),
    metric_type TEXT NOT NULL CHECK (length(metric_type) <= 20),
    help        TEXT,
    unit        TEXT
);

-- labels: instance and job as the inside of a JSON object, sorted by name.
CREATE TABLE series_owners (
    id          INTEGER PRIMARY KEY,
    source      TEXT NOT NULL CHECK (length(source) <= 100),
    target_id   TEXT NOT NULL CHECK (length(target_id) <= 100),
    source_type TEXT NOT NULL CHECK (length(source_type) <= 50),
    labels      TEXT NOT NULL
);

-- In the order in which they came. labels: all others but the metric name, in the same way.
CREATE TABLE series_rows (
    seq        INTEGER PRIMARY KEY,
    id         INTEGER NOT NULL,
    name       INTEGER NOT NULL,
    owner      INTEGER NOT NULL,
    labels     TEXT NOT NULL,
    first_seen INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    added      INTEGER NOT NULL DEFAULT 0
);

INSERT INTO series_names (metric_name, metric_type, help, unit)
SELECT DISTINCT metric_name, metric_type, help, unit FROM series;
CREATE INDEX series_names_name ON series_names (metric_name);

CREATE TABLE series_split (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    target_id   TEXT NOT NULL,
    source_type TEXT NOT NULL,
    shared      TEXT NOT NULL,
    own         TEXT NOT NULL
);

INSERT INTO series_split
SELECT seq, source, target_id, source_type,
       (SELECT coalesce(group_concat(json_quote(key) || ':' || json_quote(value), ','), '')
        FROM json_each(series.labels) WHERE key IN ('instance', 'job')) AS shared,
       (SELECT coalesce(group_concat(json_quote(key) || ':' || json_quote(value), ','), '')
        FROM json_each(series.labels) WHERE key NOT IN ('instance', 'job')) AS own
FROM series;

INSERT INTO series_owners (source, target_id, source_type, labels)
SELECT DISTINCT source, target_id, source_type, shared FROM series_split;
CREATE UNIQUE INDEX series_owners_labels ON series_owners (labels, target_id, source, source_type);

INSERT INTO series_rows (seq, id, name, owner, labels, first_seen, added)
SELECT s.seq, s.id, n.id, o.id, p.own, s.first_seen, s.added
FROM series s
CROSS JOIN series_split p ON p.seq = s.seq
CROSS JOIN series_names n ON n.metric_name = s.metric_name AND n.metric_type = s.metric_type
    AND n.help IS s.help AND n.unit IS s.unit
CROSS JOIN series_owners o ON o.labels = p.shared AND o.target_id = s.target_id AND o.source = s.source
    AND o.source_type = s.source_type
ORDER BY s.seq;

DROP TABLE series_split;
DROP TABLE series;
CREATE UNIQUE INDEX series_id ON series_rows (id);
CREATE INDEX series_added ON series_rows (added);

-- The three as one, for whoever reads.
CREATE VIEW series AS
SELECT s.seq, s.id, n.metric_name, n.metric_type,
       '{' || o.labels || CASE WHEN o.labels = '' OR s.labels = '' THEN '' ELSE ',' END || s.labels || '}' AS labels,
       o.source, o.target_id, o.source_type, n.help, n.unit, s.first_seen, s.added
FROM series_rows s
CROSS JOIN series_names n ON n.id = s.name
CROSS JOIN series_owners o ON o.id = s.owner;
