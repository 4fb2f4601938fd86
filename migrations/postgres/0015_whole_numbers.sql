-- Values of segments as small whole numbers where they are multiples of one step, and one value where they never change.
-- See docs/decisions/0023.

-- value = (base + slope * place + number) / scale, places counted from 0, numbers in shorts or longs. Where scale is null
-- the values are floats in "values", or all of them are base.
ALTER TABLE segments
    ADD COLUMN base   double precision,
    ADD COLUMN slope  double precision,
    ADD COLUMN scale  double precision,
    ADD COLUMN shorts smallint[],
    ADD COLUMN longs  integer[],
    ALTER COLUMN "values" DROP NOT NULL;

ALTER TABLE segments_daily
    ADD COLUMN base   double precision,
    ADD COLUMN slope  double precision,
    ADD COLUMN scale  double precision,
    ADD COLUMN shorts smallint[],
    ADD COLUMN longs  integer[],
    DROP CONSTRAINT segments_daily_check,
    DROP CONSTRAINT segments_daily_check1;

ALTER TABLE segments_daily
    ADD CONSTRAINT segments_daily_form CHECK ((packed IS NULL) = ("values" IS NOT NULL OR base IS NOT NULL)),
    ADD CONSTRAINT segments_daily_times CHECK (packed IS NOT NULL OR (timeline IS NULL) <> (offsets IS NULL));

DO $$
BEGIN
    ALTER TABLE segments
        ALTER COLUMN shorts SET COMPRESSION lz4,
        ALTER COLUMN longs SET COMPRESSION lz4;
    ALTER TABLE segments_daily
        ALTER COLUMN shorts SET COMPRESSION lz4,
        ALTER COLUMN longs SET COMPRESSION lz4;
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
            ELSE (g.base + g.slope * (v.place - 1) + v.number) / g.scale END,
       s.labels, o.source, o.target_id
FROM segments g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(coalesce(g."values", g.shorts::float8[], g.longs::float8[]), coalesce(g.offsets, t.offsets))
    WITH ORDINALITY AS v (number, millis, place)
WHERE g.scale IS NOT NULL OR coalesce(v.number, g.base) <> 'NaN'
   OR float8send(coalesce(v.number, g.base)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003')
UNION ALL
SELECT g.time, interval '1 day',
       g.time + v.millis * interval '1 millisecond', s.metric_name, s.metric_type,
       CASE WHEN g.scale IS NULL THEN coalesce(v.number, g.base)
            ELSE (g.base + g.slope * (v.place - 1) + v.number) / g.scale END,
       s.labels, o.source, o.target_id
FROM segments_daily g
JOIN series s ON s.id = g.series
JOIN origins o ON o.id = g.origin
LEFT JOIN timelines t ON t.id = g.timeline
CROSS JOIN LATERAL unnest(coalesce(g."values", g.shorts::float8[], g.longs::float8[]), coalesce(g.offsets, t.offsets))
    WITH ORDINALITY AS v (number, millis, place)
WHERE g.packed IS NULL
  AND (g.scale IS NOT NULL OR coalesce(v.number, g.base) <> 'NaN'
       OR float8send(coalesce(v.number, g.base)) NOT IN ('\x7ff0000000000002', '\x7ff0000000000003'));
