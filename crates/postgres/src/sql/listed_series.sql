-- Which of these series stand in a list, or in a frame that carries its own ids and was appended after $2.
SELECT w.id
FROM unnest($1::int8[]) AS w (id)
WHERE w.id IN (SELECT unnest(l.series) FROM layouts l WHERE l.series && $1::int8[])
   OR w.id IN (SELECT unnest(f.series_ids) FROM frames f WHERE f.layout IS NULL AND f.seq > $2)
