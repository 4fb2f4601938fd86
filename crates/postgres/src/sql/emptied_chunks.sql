-- Chunks of $1 that are over before $3 and out of which data was moved, and the last transaction that did so. There are
-- several of one range where there are space partitions.
SELECT c.range_start, c.range_end, array_agg(DISTINCT format('%I.%I', c.chunk_schema, c.chunk_name)),
       (array_agg(m.emptied ORDER BY m.emptied DESC))[1]::text, max(m.at) < now() - interval '15 minutes'
FROM timescaledb_information.chunks c
JOIN compactions m ON m.span = $2 AND m.start >= c.range_start AND m.start < c.range_end
WHERE c.hypertable_schema = current_schema AND c.hypertable_name = $1 AND c.range_end <= $3
GROUP BY c.range_start, c.range_end
ORDER BY c.range_start
