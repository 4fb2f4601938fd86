DELETE FROM segments_daily s
USING (SELECT series FROM segments_daily WHERE time = $1 AND origin = $2 LIMIT $3) AS old
WHERE s.time = $1 AND s.series = old.series
