SELECT DISTINCT batch_id
FROM frames
WHERE batch_id = ANY($1)
  AND time >= timestamptz 'epoch' + $2::int8 * interval '1 millisecond'
  AND time <= timestamptz 'epoch' + $3::int8 * interval '1 millisecond'
