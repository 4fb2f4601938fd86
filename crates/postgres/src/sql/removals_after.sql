-- The newest removal there ever was, and those after $1 that are still told.
SELECT l.number, r.number, r.layout, r.id
FROM last_removal l
LEFT JOIN removals r ON r.number > $1
ORDER BY r.number
