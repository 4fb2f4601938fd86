-- Days whose values can be used. $3: those of an hour, else those of five minutes. Late samples that are not compacted yet
-- are in no rolled-up value.
SELECT d.day
FROM rolled_days d
WHERE d.day >= $1 AND d.day <= $2 AND d.state > 0 AND CASE WHEN $3 THEN d.hours ELSE d.minutes END
  AND (d.state = 2 OR NOT EXISTS (
      SELECT FROM frames f WHERE f.time >= $1 AND f.time >= d.day - interval '1 hour' AND f.time <= d.day + interval '1 day'
  ))
