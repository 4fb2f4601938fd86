-- The samples of every batch beside what its job says. Of a batch whose frames are not all there nothing is counted where its samples
-- lie with others': a scrape's where segments of its target cover its time, a push's where there are any (its samples are of any time);
-- nor where it has no frames and nothing as old is kept of its target. Of a scrape that has frames, samples with timestamps of their
-- own may have been of the hour before.
WITH counted AS MATERIALIZED (
    SELECT j.job_id, j.target_id, j.stored + j.added AS expected, f.found,
           coalesce(f.found, 0) < j.stored + j.added AND (EXISTS (
               SELECT 1
               FROM spans s JOIN origins o ON o.id = s.origin
               WHERE o.target_id = j.target_id AND o.source = j.source_id
                 AND (j.collection_method <> 'PULL_SCRAPING' OR s.time <= j.created_at
                      AND j.created_at < s.time + CASE WHEN s.daily THEN interval '24 hours' ELSE interval '1 hour' END
                          + CASE WHEN f.found IS NULL THEN interval '0' ELSE interval '1 hour' END)
           ) OR f.found IS NULL AND NOT (EXISTS (
               SELECT 1 FROM frames f
               WHERE f.target_id = j.target_id AND f.source = j.source_id AND f.time <= j.created_at
           ) OR EXISTS (
               SELECT 1
               FROM spans s JOIN origins o ON o.id = s.origin
               WHERE o.target_id = j.target_id AND o.source = j.source_id AND s.time <= j.created_at
           ))) AS compacted
    FROM collection_jobs j
    LEFT JOIN LATERAL (
        SELECT sum(cardinality(f."values"))::int8 AS found FROM frames f WHERE f.batch_id = j.id
    ) f ON true
    WHERE j.created_at >= $1 AND j.created_at < $2 AND ($3::text IS NULL OR j.target_id = $3)
      AND j.stored + j.added > 0
), differing AS (
    SELECT job_id, target_id, expected, coalesce(found, 0) AS found
    FROM counted
    WHERE NOT compacted AND coalesce(found, 0) <> expected
)
(SELECT job_id, target_id, expected, found, 0::int8 AS a, 0::int8 AS b, 0::int8 AS c FROM differing LIMIT $4)
UNION ALL
SELECT NULL, NULL, coalesce(sum(expected), 0)::int8, coalesce(sum(found) FILTER (WHERE NOT compacted), 0)::int8,
       count(*), count(*) FILTER (WHERE compacted), coalesce(sum(expected) FILTER (WHERE compacted), 0)::int8
FROM counted
UNION ALL
SELECT NULL, '', 0, 0, count(*), 0, 0 FROM differing
