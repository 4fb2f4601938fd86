-- In order of the key, so that those who remove rows at once do not deadlock.
INSERT INTO ledger_hours (
    hour, target_id, source_id, collections, failed, spooled, logged, received, dropped, stored, added, refused, missed
)
SELECT hour, target_id, source_id, collections, failed, spooled, logged, received, dropped, stored, added,
       refused::jsonb, missed::jsonb
FROM unnest(
    $1::timestamptz[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
    $10::int8[], $11::int8[], $12::text[], $13::text[]
) AS sums (
    hour, target_id, source_id, collections, failed, spooled, logged, received, dropped, stored, added, refused, missed
)
ORDER BY 1, 2, 3
ON CONFLICT (hour, target_id, source_id) DO UPDATE SET
    collections = ledger_hours.collections + excluded.collections,
    failed = ledger_hours.failed + excluded.failed,
    spooled = ledger_hours.spooled + excluded.spooled,
    logged = ledger_hours.logged + excluded.logged,
    received = ledger_hours.received + excluded.received,
    dropped = ledger_hours.dropped + excluded.dropped,
    stored = ledger_hours.stored + excluded.stored,
    added = ledger_hours.added + excluded.added,
    refused = metricsd_add_counts(ledger_hours.refused, excluded.refused),
    missed = metricsd_add_counts(ledger_hours.missed, excluded.missed)
