SELECT r.id, n.metric_name, n.metric_type, r.labels || o.labels, o.source
FROM series_rows r
JOIN series_names n ON n.id = r.name
JOIN series_holders o ON o.id = r.owner
WHERE r.id >= $1
ORDER BY r.id
LIMIT $2
