INSERT INTO segments_daily (
    time, series, timeline, origin, samples, offsets, "values", histograms, packed, level, slope, scale, low1, low2, low4, high
)
SELECT time, series, timeline, origin, samples, offsets, "values", histograms, packed, level, slope, scale, low1, low2, low4, high
FROM staged_segments WHERE daily
