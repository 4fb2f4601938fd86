DELETE FROM exemplars
WHERE ctid = ANY (
    ARRAY(SELECT ctid FROM exemplars ORDER BY time DESC, series, labels_hash OFFSET $1 LIMIT $2)
)
