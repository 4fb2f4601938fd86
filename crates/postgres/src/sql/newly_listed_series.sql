-- Which of these series stand in a list that transaction $2 or a later one has written, or in a frame that carries its own
-- ids and was appended after $3.
SELECT w.id
FROM unnest($1::int8[]) AS w (id)
WHERE w.id IN (SELECT unnest(l.series) FROM layouts l WHERE age(l.xmin) <= age($2::text::xid8::xid))
   OR w.id IN (SELECT unnest(f.series_ids) FROM frames f WHERE f.layout IS NULL AND f.seq > $3)
