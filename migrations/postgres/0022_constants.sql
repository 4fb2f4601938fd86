-- Series that did not change within an hour, many in a row. See docs/decisions/0023.

-- Ids are hashes: a row holds those that begin with the same bits, as many as make rows of some hundred series, of one pass
-- of compaction. The key is these bits behind a 1, so that it says how many they are.
CREATE TABLE segments_constant (
    time      timestamptz NOT NULL,
    key       integer NOT NULL,
    series    bigint[] NOT NULL,
    level     double precision[] NOT NULL,
    origins   integer[] NOT NULL,
    timelines bigint[] NOT NULL
);

-- How many bits keys have anywhere: who looks for a series asks for a key of each.
CREATE TABLE segments_constant_bits (
    bits smallint PRIMARY KEY CHECK (bits BETWEEN 0 AND 20)
);

CREATE FUNCTION metricsd_constant_key(series bigint, bits smallint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (1 << bits) | ((series >> (64 - bits)) & ((1::bigint << bits) - 1))::integer
$$;

DO $$
BEGIN
    PERFORM create_hypertable('segments_constant', by_range('time', interval '1 day'), create_default_indexes => false);
    BEGIN
        ALTER TABLE segments_constant
            ALTER COLUMN series SET COMPRESSION lz4,
            ALTER COLUMN level SET COMPRESSION lz4,
            ALTER COLUMN origins SET COMPRESSION lz4,
            ALTER COLUMN timelines SET COMPRESSION lz4;
    EXCEPTION WHEN feature_not_supported THEN
        RAISE NOTICE 'this server has no lz4';
    END;
END
$$;

CREATE INDEX segments_constant_key ON segments_constant (key, time);
CREATE INDEX segments_constant_time ON segments_constant (time);

-- One value for all: the same word in both tables. Processes that know nothing of segments_constant know no column of this
-- name, so that they fail, and try again, instead of leaving out what stands there.
ALTER TABLE segments RENAME COLUMN base TO level;
ALTER TABLE segments_daily RENAME COLUMN base TO level;

-- As before, and what stands in segments_constant.
CREATE OR REPLACE VIEW metrics_by_bucket AS
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
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type,
       CASE WHEN g.scale IS NULL THEN coalesce(v.number, g.level)
            WHEN v.high IS NULL THEN (g.level + g.slope * (v.place - 1) + v.number) / g.scale
            ELSE (g.level + g.slope * (v.place - 1) + (v.number + v.high::int * CASE
                WHEN g.low1 IS NOT NULL THEN 256::float8 WHEN g.low2 IS NOT NULL THEN 65536::float8
                ELSE 4294967296::float8 END)) / g.scale END,
       s.labels, o.source, o.target_id
FROM segments g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(
    coalesce(g."values", g.low2::float8[], g.low1::int[]::float8[], g.low4::float8[]), g.high, coalesce(g.offsets, t.offsets)
) WITH ORDINALITY AS v (number, high, millis, place)
WHERE g.scale IS NOT NULL OR coalesce(v.number, g.level) <> 'NaN'
   OR float8send(coalesce(v.number, g.level)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003')
UNION ALL
SELECT g.time, interval '1 day',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type,
       CASE WHEN g.scale IS NULL THEN coalesce(v.number, g.level)
            WHEN v.high IS NULL THEN (g.level + g.slope * (v.place - 1) + v.number) / g.scale
            ELSE (g.level + g.slope * (v.place - 1) + (v.number + v.high::int * CASE
                WHEN g.low1 IS NOT NULL THEN 256::float8 WHEN g.low2 IS NOT NULL THEN 65536::float8
                ELSE 4294967296::float8 END)) / g.scale END,
       s.labels, o.source, o.target_id
FROM segments_daily g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(
    coalesce(g."values", g.low2::float8[], g.low1::int[]::float8[], g.low4::float8[]), g.high, coalesce(g.offsets, t.offsets)
) WITH ORDINALITY AS v (number, high, millis, place)
WHERE g.packed IS NULL
  AND (g.scale IS NOT NULL OR coalesce(v.number, g.level) <> 'NaN'
       OR float8send(coalesce(v.number, g.level)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'))
UNION ALL
SELECT g.time, interval '1 hour',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type, m.level, s.labels, o.source, o.target_id
FROM series s
CROSS JOIN segments_constant_bits b
JOIN segments_constant g ON g.key = metricsd_constant_key(s.id, b.bits)
CROSS JOIN LATERAL unnest(g.series, g.level, g.origins, g.timelines) AS m (series, level, origin, timeline)
JOIN origins o ON o.id = m.origin
JOIN timelines t ON t.id = m.timeline
CROSS JOIN LATERAL unnest(t.offsets) AS v (millis)
WHERE m.series = s.id
  AND (m.level <> 'NaN' OR float8send(m.level) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'));
