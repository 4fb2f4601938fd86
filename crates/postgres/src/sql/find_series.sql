SELECT id, metric_name, metric_type, labels
FROM series
WHERE ($1::text[] IS NULL OR metric_name = ANY($1::text[]))
  AND ($2::text IS NULL OR labels @> $2::text::jsonb)
