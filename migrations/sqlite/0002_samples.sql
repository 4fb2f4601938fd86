-- Samples: series and layouts once, then one row a frame. Columns of numbers are blobs as metricsd_codec::pack
-- makes them.

CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    metric_name TEXT NOT NULL CHECK (length(metric_name) <= 200),
    metric_type TEXT NOT NULL CHECK (length(metric_type) <= 20),
    labels      TEXT NOT NULL CHECK (json_valid(labels)),  -- without the metric name; compact, sorted by name
    source      TEXT NOT NULL CHECK (length(source) <= 100),
    target_id   TEXT NOT NULL CHECK (length(target_id) <= 100),
    source_type TEXT NOT NULL CHECK (length(source_type) <= 50),
    help        TEXT,
    unit        TEXT,
    first_seen  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

CREATE INDEX series_metric_name ON series (metric_name);

CREATE TABLE layouts (
    id         INTEGER PRIMARY KEY,
    series     BLOB NOT NULL,
    first_seen INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

-- Which layouts hold a series.
CREATE TABLE layout_series (
    series INTEGER NOT NULL,
    layout INTEGER NOT NULL,
    PRIMARY KEY (series, layout)
) WITHOUT ROWID;

-- Writers come one after another, so seq grows in order of commit.
CREATE TABLE frames (
    seq        INTEGER PRIMARY KEY,
    time       INTEGER NOT NULL,
    target_id  TEXT NOT NULL CHECK (length(target_id) <= 100),
    source     TEXT NOT NULL CHECK (length(source) <= 100),
    batch_id   BLOB NOT NULL,
    part       INTEGER NOT NULL,
    layout     INTEGER,
    series_ids BLOB,
    "values"   BLOB NOT NULL,
    offsets    BLOB,
    histograms BLOB,
    CHECK ((layout IS NULL) <> (series_ids IS NULL))
);

CREATE UNIQUE INDEX frames_batch ON frames (batch_id, part);
CREATE INDEX frames_layout ON frames (layout, time) WHERE layout IS NOT NULL;
CREATE INDEX frames_target ON frames (target_id, time);
CREATE INDEX frames_inline ON frames (time) WHERE layout IS NULL;
