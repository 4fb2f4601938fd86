-- Lists that may hold one of some series. Keys of their ids come as slices of one array, one for each number of bits, so
-- that no list is found twice.
SELECT l.id
FROM unnest($1::int4[], $2::int4[]) AS s (first, last)
JOIN layouts l ON metricsd_list_keys(l.series, l.bits) && ($3::int4[])[s.first:s.last]
