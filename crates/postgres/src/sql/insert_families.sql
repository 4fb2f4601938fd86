-- In order, so that writers do not deadlock. No statement twice in one call.
INSERT INTO families (family, metric_type, help, unit)
SELECT family, metric_type, help, unit
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
    AS new (family, metric_type, help, unit, place)
ORDER BY place
ON CONFLICT (family, metric_type, md5(help), md5(unit)) DO UPDATE SET seen = excluded.seen
