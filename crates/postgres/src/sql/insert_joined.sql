-- Only those that come back are new. One that has a collection of its own was stored before too.
INSERT INTO joined_pushes (id, job, started)
SELECT id, job, started
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS push (id, job, started, place)
WHERE push.id = push.job OR NOT EXISTS (SELECT FROM collection_jobs j WHERE j.id = push.id)
ORDER BY id, place
ON CONFLICT DO NOTHING
RETURNING id, job
