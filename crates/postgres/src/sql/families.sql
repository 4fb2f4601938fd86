SELECT family, metric_type, help, unit
FROM families
WHERE family IN (
    SELECT DISTINCT family FROM families WHERE $1::text IS NULL OR family = $1 ORDER BY family LIMIT $2
)
