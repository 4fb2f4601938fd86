-- The values of a series are a slice of each array.
INSERT INTO rollups_hours (day, series, places, counts, mins, maxs, sums, lasts)
SELECT $1, series, ($5::int4[])[first:last], ($6::int4[])[first:last], ($7::float8[])[first:last],
       ($8::float8[])[first:last], ($9::float8[])[first:last], ($10::float8[])[first:last]
FROM unnest($2::int8[], $3::int4[], $4::int4[]) AS new (series, first, last)
ON CONFLICT (series, day) DO UPDATE
SET places = excluded.places, counts = excluded.counts, mins = excluded.mins, maxs = excluded.maxs, sums = excluded.sums,
    lasts = excluded.lasts
