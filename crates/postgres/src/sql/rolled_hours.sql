-- $3: 0 the smallest, 1 the greatest, 2 the sums, else the last values.
SELECT day, series, places, counts, CASE $3 WHEN 0 THEN mins WHEN 1 THEN maxs WHEN 2 THEN sums ELSE lasts END
FROM rollups_hours
WHERE series = ANY($1) AND day = ANY($2)
  AND day >= (SELECT min(d) FROM unnest($2::timestamptz[]) AS d)
  AND day <= (SELECT max(d) FROM unnest($2::timestamptz[]) AS d)
ORDER BY day
