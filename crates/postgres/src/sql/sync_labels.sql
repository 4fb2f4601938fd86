INSERT INTO discovered_labels AS l (target_id, labels)
SELECT f.target_id, f.labels::jsonb
FROM unnest($1::text[], $2::text[]) AS f (target_id, labels)
JOIN metric_targets t ON t.target_id = f.target_id AND t.job = $3
ON CONFLICT (target_id) DO UPDATE SET labels = excluded.labels
