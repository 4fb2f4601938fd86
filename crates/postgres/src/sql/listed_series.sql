-- Which of these series stand in a list, found by keys as in find_layouts.sql, or in a frame that carries its own ids and
-- was appended after $5.
SELECT w.id
FROM unnest($4::int8[]) AS w (id)
WHERE w.id IN (
        SELECT unnest(l.series)
        FROM unnest($1::int4[], $2::int4[]) AS s (first, last)
        JOIN layouts l ON metricsd_list_keys(l.series, l.bits) && ($3::int4[])[s.first:s.last]
    )
   OR w.id IN (SELECT unnest(f.series_ids) FROM frames f WHERE f.layout IS NULL AND f.seq > $5)
