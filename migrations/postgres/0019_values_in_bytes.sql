-- Whole numbers of segments in as many bytes as they need. See docs/decisions/0023.

-- value = (base + slope * place + number) / scale as before, places counted from 0. A number is an element of low1, low2 or
-- low4, of 1, 2 or 4 bytes, signed; where high is not null an element of it counts 256, 65536 or 4294967296 beside that:
-- one more than the largest number of so many bytes. Names are new, so that who knows nothing of high does not read half a
-- number for a whole one.
ALTER TABLE segments RENAME COLUMN shorts TO low2;
ALTER TABLE segments RENAME COLUMN longs TO low4;
ALTER TABLE segments
    ADD COLUMN low1 "char"[],
    ADD COLUMN high "char"[];

ALTER TABLE segments_daily RENAME COLUMN shorts TO low2;
ALTER TABLE segments_daily RENAME COLUMN longs TO low4;
ALTER TABLE segments_daily
    ADD COLUMN low1 "char"[],
    ADD COLUMN high "char"[];

DO $$
BEGIN
    ALTER TABLE segments
        ALTER COLUMN low1 SET COMPRESSION lz4,
        ALTER COLUMN high SET COMPRESSION lz4;
    ALTER TABLE segments_daily
        ALTER COLUMN low1 SET COMPRESSION lz4,
        ALTER COLUMN high SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server has no lz4';
END;
$$;

-- As before, but for how segments give their values: as the Rust code does, in the same order, so that no bit differs.
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
       CASE WHEN g.scale IS NULL THEN coalesce(v.number, g.base)
            WHEN v.high IS NULL THEN (g.base + g.slope * (v.place - 1) + v.number) / g.scale
            ELSE (g.base + g.slope * (v.place - 1) + (v.number + v.high::int * CASE
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
WHERE g.scale IS NOT NULL OR coalesce(v.number, g.base) <> 'NaN'
   OR float8send(coalesce(v.number, g.base)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003')
UNION ALL
SELECT g.time, interval '1 day',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type,
       CASE WHEN g.scale IS NULL THEN coalesce(v.number, g.base)
            WHEN v.high IS NULL THEN (g.base + g.slope * (v.place - 1) + v.number) / g.scale
            ELSE (g.base + g.slope * (v.place - 1) + (v.number + v.high::int * CASE
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
  AND (g.scale IS NOT NULL OR coalesce(v.number, g.base) <> 'NaN'
       OR float8send(coalesce(v.number, g.base)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'));
