INSERT INTO segments (
    time, series, timeline, origin, offsets, "values", histograms, level, slope, scale, low1, low2, low4, high
)
SELECT time, series, timeline, origin, offsets, "values", histograms, level, slope, scale, low1, low2, low4, high
FROM staged_segments WHERE NOT daily
