-- Frames differ in length, so their arrays come as slices of one array of each kind; a slice without bounds is null.
INSERT INTO frames (time, target_id, source, batch_id, part, layout, series_ids, "values", offsets, histograms, seq)
SELECT time, target_id, source, batch_id, part, layout, ($15::int8[])[first_id:last_id],
       ($16::float8[])[first_value:last_value], ($17::int4[])[first_offset:last_offset], histograms, seq
FROM unnest(
    $1::timestamptz[], $2::text[], $3::text[], $4::uuid[], $5::int2[], $6::int8[], $7::int4[], $8::int4[],
    $9::int4[], $10::int4[], $11::int4[], $12::int4[], $13::bytea[], $14::int8[]
) AS new (
    time, target_id, source, batch_id, part, layout, first_id, last_id,
    first_value, last_value, first_offset, last_offset, histograms, seq
)
