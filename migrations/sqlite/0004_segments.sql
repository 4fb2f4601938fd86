-- Segments: what frames become once their hour is over. Times are milliseconds since the epoch; columns of numbers are
-- blobs as metricsd_codec::pack makes them.

-- Whose segments are.
CREATE TABLE origins (
    id        INTEGER PRIMARY KEY,
    target_id TEXT NOT NULL CHECK (length(target_id) <= 100),
    source    TEXT NOT NULL CHECK (length(source) <= 100),
    UNIQUE (target_id, source)
);

-- Timestamps that several segments of one span share, as milliseconds after its beginning. The id is a hash of them.
CREATE TABLE timelines (
    time    INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    offsets BLOB NOT NULL,
    PRIMARY KEY (time, id)
) WITHOUT ROWID;

-- One row a series and span: an hour that begins at time, or a part of it where there are many samples. Of a series no
-- two rows hold the same timestamp, those of segments_daily included.
CREATE TABLE segments (
    time       INTEGER NOT NULL,
    series     INTEGER NOT NULL,
    origin     INTEGER NOT NULL,
    timeline   INTEGER,
    offsets    BLOB,
    "values"   BLOB NOT NULL,
    histograms BLOB,
    PRIMARY KEY (time, series),
    CHECK ((timeline IS NULL) <> (offsets IS NULL))
) WITHOUT ROWID;

-- The same of series with few samples an hour; a row covers a day.
CREATE TABLE segments_daily (
    time       INTEGER NOT NULL,
    series     INTEGER NOT NULL,
    origin     INTEGER NOT NULL,
    timeline   INTEGER,
    offsets    BLOB,
    "values"   BLOB NOT NULL,
    histograms BLOB,
    PRIMARY KEY (time, series),
    CHECK ((timeline IS NULL) <> (offsets IS NULL))
) WITHOUT ROWID;

-- Which spans hold segments of an origin.
CREATE TABLE spans (
    time   INTEGER NOT NULL,
    daily  INTEGER NOT NULL CHECK (daily IN (0, 1)),
    origin INTEGER NOT NULL,
    PRIMARY KEY (time, daily, origin)
) WITHOUT ROWID;

CREATE INDEX spans_origin ON spans (origin, time);

-- Grows with everything that removes frames or touches segments, so that whoever compacts sees whether another was there
-- between its reading and its writing.
CREATE TABLE compaction (
    single     INTEGER PRIMARY KEY DEFAULT 1 CHECK (single = 1),
    generation INTEGER NOT NULL
);
INSERT INTO compaction (generation) VALUES (0);
