INSERT INTO segments_constant (time, key, series, level, origins, timelines)
SELECT time, key, series, level, origins, timelines
FROM staged_constants
ORDER BY key
