-- Locked in order; a row that another writer holds goes when it writes the next.
DELETE FROM families
WHERE ctid IN (
    SELECT ctid FROM families
    WHERE ctid = ANY (ARRAY(
        SELECT tid FROM (
            SELECT ctid AS tid, row_number() OVER (PARTITION BY family ORDER BY seen DESC, md5(help)) AS place
            FROM families WHERE family = ANY($1)
        ) AS placed
        WHERE place > $2
    ))
    FOR UPDATE SKIP LOCKED
)
