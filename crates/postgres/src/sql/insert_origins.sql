INSERT INTO origins (target_id, source)
SELECT new.target_id, new.source
FROM unnest($1::text[], $2::text[]) AS new (target_id, source)
WHERE NOT EXISTS (SELECT FROM origins o WHERE o.target_id = new.target_id AND o.source = new.source)
ORDER BY new.target_id, new.source
