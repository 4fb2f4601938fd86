INSERT INTO segments (time, series, timeline, origin, offsets, "values", histograms, base, slope, scale, shorts, longs)
SELECT time, series, timeline, origin, offsets, "values", histograms, base, slope, scale, shorts, longs
FROM staged_segments WHERE NOT daily
