SELECT o.target_id, o.source, o.id
FROM unnest($1::text[], $2::text[]) AS w (target_id, source)
JOIN origins o ON o.target_id = w.target_id AND o.source = w.source
