INSERT INTO segments_daily (time, series, timeline, origin, samples, offsets, "values", histograms, packed)
SELECT time, series, timeline, origin, samples, offsets, "values", histograms, packed FROM staged_segments WHERE daily
