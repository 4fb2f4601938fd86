-- Segments: what compaction makes of frames, one row a series an hour. See docs/decisions/0010 and 0011.

-- Which target and source a segment came from.
CREATE TABLE origins (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_id varchar(100) NOT NULL,
    source    varchar(100) NOT NULL,
    UNIQUE (target_id, source)
);

-- Where the segments of an origin are: what retention and the newest collection of a target are looked up by.
CREATE TABLE spans (
    origin integer NOT NULL,
    daily  boolean NOT NULL,
    time   timestamptz NOT NULL,
    seen   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (origin, daily, time)
) WITH (fillfactor = 70);

CREATE INDEX spans_time ON spans (time);

-- Timestamps that many segments share, in milliseconds from the beginning of the segment's span. The id is a hash.
CREATE TABLE timelines (
    id      bigint PRIMARY KEY,
    offsets integer[] NOT NULL
);

-- Columns in the order that needs least padding.
CREATE TABLE segments (
    time       timestamptz NOT NULL,
    series     bigint NOT NULL,
    timeline   bigint,
    origin     integer NOT NULL,
    offsets    integer[],
    "values"   double precision[] NOT NULL,
    histograms bytea,
    CHECK ((timeline IS NULL) <> (offsets IS NULL))
);

-- Of series with few samples an hour, and whole days that were packed: offsets and values in one, which only metricsd
-- reads.
CREATE TABLE segments_daily (
    time       timestamptz NOT NULL,
    series     bigint NOT NULL,
    timeline   bigint,
    origin     integer NOT NULL,
    samples    integer NOT NULL,
    offsets    integer[],
    "values"   double precision[],
    histograms bytea,
    packed     bytea,
    CHECK ((packed IS NULL) = ("values" IS NOT NULL)),
    CHECK ("values" IS NULL OR (timeline IS NULL) <> (offsets IS NULL))
);

-- Which transaction last moved data out of a span of time, into segments or into packed ones: chunks that are empty
-- since go when nobody's snapshot is older.
CREATE TABLE compactions (
    span    varchar(10) NOT NULL,
    start   timestamptz NOT NULL,
    emptied xid8 NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (span, start)
);

DO $$
BEGIN
    -- Chunks are wider than those of frames: a plan opens each of its range, and rows are found by index.
    PERFORM create_hypertable('segments', by_range('time', interval '1 day'), create_default_indexes => false);
    PERFORM create_hypertable('segments_daily', by_range('time', interval '7 days'), create_default_indexes => false);
    BEGIN
        ALTER TABLE segments
            ALTER COLUMN offsets SET COMPRESSION lz4,
            ALTER COLUMN "values" SET COMPRESSION lz4,
            ALTER COLUMN histograms SET COMPRESSION lz4;
        ALTER TABLE segments_daily
            ALTER COLUMN offsets SET COMPRESSION lz4,
            ALTER COLUMN "values" SET COMPRESSION lz4,
            ALTER COLUMN histograms SET COMPRESSION lz4;
        ALTER TABLE timelines ALTER COLUMN offsets SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN
        RAISE NOTICE 'this server has no lz4';
    END;
END
$$;

-- Packed already.
ALTER TABLE segments_daily ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX segments_series ON segments (series, time);
CREATE INDEX segments_time ON segments (time, origin);
CREATE UNIQUE INDEX segments_daily_series ON segments_daily (series, time);
CREATE INDEX segments_daily_time ON segments_daily (time, origin);
CREATE INDEX segments_daily_open ON segments_daily (time, series) WHERE packed IS NULL;

-- Every sample that SQL can read, beside the beginning of the span of time that its row stands for and the width of
-- that span: a condition on "timestamp" alone excludes chunks of the first branch only, one on bucket those of all.
--
-- Staleness markers and native histograms are told by the bits of their NaN and left out; an ordinary NaN stays.
-- A sample that two different batches brought is shown for each until their hour is compacted: telling them apart here
-- would sort every sample.
CREATE VIEW metrics_by_bucket AS
SELECT f.time AS bucket, interval '0' AS width,
       f.time AS "timestamp", s.metric_name, s.metric_type, v.value, s.labels, f.source, f.target_id
FROM frames f
LEFT JOIN layouts l ON l.id = f.layout
CROSS JOIN LATERAL unnest(f."values", coalesce(f.series_ids, l.series)) AS v (value, series_id)
JOIN series s ON s.id = v.series_id
WHERE f.offsets IS NULL
  AND (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'))
UNION ALL
SELECT f.time, interval '1 hour',
       f.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type, v.value, s.labels, f.source,
       f.target_id
FROM frames f
LEFT JOIN layouts l ON l.id = f.layout
CROSS JOIN LATERAL unnest(f."values", coalesce(f.series_ids, l.series), f.offsets) AS v (value, series_id, millis)
JOIN series s ON s.id = v.series_id
WHERE f.offsets IS NOT NULL
  AND (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'))
UNION ALL
SELECT g.time, interval '1 hour',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type, v.value, s.labels, o.source,
       o.target_id
FROM segments g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(g."values", coalesce(g.offsets, t.offsets)) AS v (value, millis)
WHERE (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'))
UNION ALL
SELECT g.time, interval '1 day',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type, v.value, s.labels, o.source,
       o.target_id
FROM segments_daily g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(g."values", coalesce(g.offsets, t.offsets)) AS v (value, millis)
WHERE g.packed IS NULL
  AND (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'));

-- Exactly the source document's columns.
CREATE OR REPLACE VIEW metrics_ts AS
SELECT "timestamp", metric_name, metric_type, value, labels, source, target_id
FROM metrics_by_bucket;

COMMENT ON VIEW metrics_ts IS
    'Every sample, but for native histograms, staleness markers and packed days (metrics_ts_packed says which). '
    'Over a long history SELECT FROM metrics_between(start, end) reads the chunks of that time only.';

-- The same between two times, both included. Planned as a part of the query that calls it.
CREATE FUNCTION metrics_between(first timestamptz, last timestamptz) RETURNS SETOF metrics_ts
LANGUAGE sql STABLE AS $$
    SELECT "timestamp", metric_name, metric_type, value, labels, source, target_id
    FROM metrics_by_bucket
    WHERE bucket >= first - width AND bucket <= last AND "timestamp" >= first AND "timestamp" <= last
$$;

-- What metrics_ts leaves out because it is packed.
CREATE VIEW metrics_ts_packed AS
SELECT g.time AS day, s.metric_name, s.labels, o.source, o.target_id, g.samples
FROM segments_daily g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
WHERE g.packed IS NOT NULL;

COMMENT ON VIEW metrics_ts_packed IS
    'Series and days whose samples are packed, which only metricsd reads, with the number of samples of each.';
