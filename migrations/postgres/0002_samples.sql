-- Samples: series and layouts once, then one row a frame.

CREATE TABLE series (
    id          bigint PRIMARY KEY,
    metric_name varchar(200) NOT NULL,
    metric_type varchar(20) NOT NULL,
    labels      jsonb NOT NULL,  -- without the metric name
    source      varchar(100) NOT NULL,
    target_id   varchar(100) NOT NULL,
    source_type varchar(50) NOT NULL,
    help        text,
    unit        text,
    first_seen  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX series_metric_name ON series (metric_name);
CREATE INDEX series_labels ON series USING gin (labels jsonb_path_ops);

CREATE TABLE layouts (
    id         bigint PRIMARY KEY,
    series     bigint[] NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);

-- Which layouts hold a series.
CREATE INDEX layouts_series ON layouts USING gin (series);

CREATE TABLE frames (
    time       timestamptz NOT NULL,
    target_id  varchar(100) NOT NULL,
    source     varchar(100) NOT NULL,
    batch_id   uuid NOT NULL,
    part       smallint NOT NULL,
    layout     bigint,
    series_ids bigint[],
    "values"   double precision[] NOT NULL,
    offsets    integer[],
    histograms bytea,
    seq        bigint NOT NULL,
    CHECK ((layout IS NULL) <> (series_ids IS NULL))
);

-- The two settings come from the process that migrates; see migrate.rs.
DO $$
DECLARE
    partitions integer := current_setting('metricsd.space_partitions')::integer;
BEGIN
    PERFORM create_hypertable(
        'frames',
        by_range('time', current_setting('metricsd.chunk_interval')::interval),
        create_default_indexes => false
    );
    IF partitions > 1 THEN
        PERFORM add_dimension('frames', by_hash('source', partitions));
        -- A unique index must hold every partitioning column; a batch id determines its source.
        CREATE UNIQUE INDEX frames_batch ON frames (batch_id, part, time, source);
    ELSE
        CREATE UNIQUE INDEX frames_batch ON frames (batch_id, part, time);
    END IF;
    -- A server built without lz4 keeps its default; reading is slower there, nothing else.
    BEGIN
        ALTER TABLE frames
            ALTER COLUMN "values" SET COMPRESSION lz4,
            ALTER COLUMN series_ids SET COMPRESSION lz4,
            ALTER COLUMN offsets SET COMPRESSION lz4,
            ALTER COLUMN histograms SET COMPRESSION lz4;
        ALTER TABLE layouts ALTER COLUMN series SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN
        RAISE NOTICE 'this server has no lz4';
    END;
END
$$;

CREATE INDEX frames_layout ON frames (layout, time) WHERE layout IS NOT NULL;
CREATE INDEX frames_target ON frames (target_id, time);
CREATE INDEX frames_inline ON frames (time) WHERE layout IS NULL;
CREATE INDEX frames_spread ON frames (time) WHERE offsets IS NOT NULL;

-- Every sample as the row that the source document describes, for any SQL client.
--
-- The first half has one timestamp a frame, so a condition on "timestamp" is one on frames.time and excludes chunks;
-- the second reads only frames whose samples have timestamps of their own, through their partial index.
-- Staleness markers and native histograms are told by the bits of their NaN and left out; an ordinary NaN stays.
-- A sample that two different batches brought is shown for each: telling them apart here would sort every sample.
CREATE VIEW metrics_ts AS
SELECT f.time AS "timestamp", s.metric_name, s.metric_type, v.value, s.labels, f.source, f.target_id
FROM frames f
LEFT JOIN layouts l ON l.id = f.layout
CROSS JOIN LATERAL unnest(f."values", coalesce(f.series_ids, l.series)) AS v (value, series_id)
JOIN series s ON s.id = v.series_id
WHERE f.offsets IS NULL
  AND (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'))
UNION ALL
SELECT f.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type, v.value, s.labels, f.source,
       f.target_id
FROM frames f
LEFT JOIN layouts l ON l.id = f.layout
CROSS JOIN LATERAL unnest(f."values", coalesce(f.series_ids, l.series), f.offsets) AS v (value, series_id, millis)
JOIN series s ON s.id = v.series_id
WHERE f.offsets IS NOT NULL
  AND (v.value <> 'NaN' OR float8send(v.value) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'));
