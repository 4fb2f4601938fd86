SELECT id, metric_name, metric_type, labels, source, target_id, source_type, help, unit
FROM series
WHERE id = ANY($1)
