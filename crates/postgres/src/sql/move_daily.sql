INSERT INTO segments_daily (
    time, series, timeline, origin, samples, offsets, "values", histograms, packed, base, slope, scale, shorts, longs
)
SELECT time, series, timeline, origin, samples, offsets, "values", histograms, packed, base, slope, scale, shorts, longs
FROM staged_segments WHERE daily
