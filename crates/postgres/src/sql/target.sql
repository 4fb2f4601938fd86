SELECT * FROM metric_targets WHERE target_id = $1
