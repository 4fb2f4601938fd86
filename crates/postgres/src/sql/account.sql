WITH told AS (
    INSERT INTO outbox (source_id, event)
    SELECT source_id, event::json
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS new (source_id, event, place)
    ORDER BY place
)
INSERT INTO counters (slot, samples, batches)
VALUES ($3, $4, $5)
ON CONFLICT (slot) DO UPDATE
SET samples = counters.samples + excluded.samples, batches = counters.batches + excluded.batches
