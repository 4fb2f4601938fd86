-- Rolled-up values: what is left of samples in spans of five minutes and of an hour.

-- Days (UTC) that are rolled up, or being so. state: 0 begun, 1 whole, 2 whole and final, since samples of it are gone.
-- minutes and hours: the values of that length can be used.
CREATE TABLE rolled_days (
    day     timestamptz PRIMARY KEY,
    state   smallint NOT NULL CHECK (state IN (0, 1, 2)),
    minutes boolean NOT NULL DEFAULT false,
    hours   boolean NOT NULL DEFAULT false
);

-- One row a series and day. places: which spans of the day, counted from 1; a span ends so many times its length after the
-- day began. counts: samples; negative and less one where a staleness marker came last. All arrays are of one length;
-- absent where native histograms are among the samples.
CREATE TABLE rollups_minutes (
    day    timestamptz NOT NULL,
    series bigint NOT NULL,
    places integer[],
    counts integer[],
    mins   double precision[],
    maxs   double precision[],
    sums   double precision[],
    lasts  double precision[]
);

CREATE TABLE rollups_hours (LIKE rollups_minutes INCLUDING ALL);

DO $$
BEGIN
    PERFORM create_hypertable('rollups_minutes', by_range('day', interval '7 days'), create_default_indexes => false);
    PERFORM create_hypertable('rollups_hours', by_range('day', interval '28 days'), create_default_indexes => false);
END
$$;

CREATE UNIQUE INDEX rollups_minutes_series ON rollups_minutes (series, day);
CREATE UNIQUE INDEX rollups_hours_series ON rollups_hours (series, day);

-- Every rolled-up value, for any SQL client; "timestamp" ends the span that the value stands for, step is its length.
CREATE VIEW metrics_rolled AS
SELECT r.day + v.place * r.step AS "timestamp", r.step, s.metric_name, s.metric_type,
       v.min, v.max, v.sum, CASE WHEN v.count < 0 THEN -v.count - 1 ELSE v.count END AS count, v.last,
       s.labels, s.source, s.target_id
FROM (
    SELECT interval '5 minutes' AS step, m.* FROM rollups_minutes m
    UNION ALL
    SELECT interval '1 hour', h.* FROM rollups_hours h
) r
JOIN series s ON s.id = r.series
CROSS JOIN LATERAL unnest(r.places, r.counts, r.mins, r.maxs, r.sums, r.lasts) AS v (place, count, min, max, sum, last)
WHERE v.count NOT IN (-1, 0);
