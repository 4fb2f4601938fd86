-- Frames between $6 and $7. $8 is the beginning of the range: frames whose samples differ in time may begin before it.
SELECT f.time, f.seq, f.part, f.histograms, f.layout,
       f."values"[w.a], f.offsets[w.a],
       f."values"[w.b], f.offsets[w.b],
       f."values"[w.c], f.offsets[w.c],
       f."values"[w.d], f.offsets[w.d]
FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int4[], $5::int4[]) AS w (layout, a, b, c, d)
JOIN frames f ON f.layout = w.layout
WHERE f.time >= $6 AND f.time <= $7
  AND (f.time >= $8 OR f.offsets IS NOT NULL)
