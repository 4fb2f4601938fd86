SELECT target_id, origin, job, fingerprint, deleting
FROM metric_targets
WHERE job = $1 OR target_id = ANY ($2)
