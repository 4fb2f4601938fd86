SELECT r.id, n.metric_name, n.metric_type, r.labels || o.labels, o.source, o.target_id, o.source_type, n.help, n.unit
FROM series_rows r
JOIN series_names n ON n.id = r.name
JOIN series_holders o ON o.id = r.owner
WHERE r.id = ANY($1)
