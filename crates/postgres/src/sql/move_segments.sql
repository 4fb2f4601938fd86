INSERT INTO segments (time, series, timeline, origin, offsets, "values", histograms)
SELECT time, series, timeline, origin, offsets, "values", histograms FROM staged_segments WHERE NOT daily
