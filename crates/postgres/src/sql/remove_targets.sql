UPDATE metric_targets t
SET deleting = true, revision = $2 + gone.place
FROM unnest($1::text[]) WITH ORDINALITY AS gone (target_id, place)
WHERE t.target_id = gone.target_id
