SELECT id, metric_name, metric_type, labels, source
FROM series
WHERE id >= $1
ORDER BY id
LIMIT $2
