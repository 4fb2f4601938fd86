SELECT g.*, (SELECT coalesce(jsonb_object_agg(name, kind), '{}') FROM pushed_families WHERE group_id = g.id) AS kinds
FROM pushed_groups g
WHERE g.id = $1
