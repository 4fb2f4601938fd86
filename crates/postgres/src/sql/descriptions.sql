SELECT r.id, n.help, n.unit
FROM series_rows r
JOIN series_names n ON n.id = r.name
WHERE r.id = ANY($1)
ORDER BY r.id
