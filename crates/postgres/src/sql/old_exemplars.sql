DELETE FROM exemplars
WHERE ctid = ANY (ARRAY(SELECT ctid FROM exemplars WHERE target_id = $1 AND time < $2 LIMIT $3 FOR UPDATE SKIP LOCKED))
