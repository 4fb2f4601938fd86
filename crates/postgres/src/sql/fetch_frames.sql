-- The frames of these batches, parts and times, which all lie between $4 and $5.
SELECT f.time, f.seq, f.part, f.histograms, f.series_ids, f."values", f.offsets, w.place
FROM unnest($1::uuid[], $2::int2[], $3::timestamptz[]) WITH ORDINALITY AS w (batch_id, part, time, place)
JOIN frames f ON f.batch_id = w.batch_id AND f.part = w.part AND f.time = w.time
WHERE f.time >= $4 AND f.time <= $5
