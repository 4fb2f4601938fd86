SELECT id, metric_name, metric_type, labels, source, target_id, source_type, help, unit
FROM series
WHERE ($1::text[] IS NULL OR metric_name = ANY($1::text[]))
  AND ($2::text IS NULL OR labels @> $2::text::jsonb)
