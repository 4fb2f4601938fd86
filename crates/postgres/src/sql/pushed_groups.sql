SELECT g.*, (SELECT coalesce(jsonb_object_agg(name, kind), '{}') FROM pushed_families WHERE group_id = g.id) AS kinds
FROM pushed_groups g
WHERE $1 IS NULL OR g.id > $1
ORDER BY g.id
LIMIT $2
