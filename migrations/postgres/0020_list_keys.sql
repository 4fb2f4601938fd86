-- Lists of series are found by the first bits of the ids in them, as many lists share these, and then looked through. See
-- docs/decisions/0023. Processes of the version before write lists as ever, and find them without an index: more slowly.

-- Waits for appends that are under way, and keeps others out while there is no index.
LOCK TABLE layouts IN ACCESS EXCLUSIVE MODE;

-- How many bits of an id lead to a list that is written now: as many as leave a few of the series that there are to each
-- key, told by the size of their table. Of few series any are looked through at once. 27 at most, so that a key is an
-- integer.
CREATE FUNCTION metricsd_list_bits() RETURNS smallint LANGUAGE sql VOLATILE AS $$
    SELECT ('{11, 16, 19, 22, 25, 27}'::smallint[])[1 + width_bucket(
        pg_relation_size('series_rows'), '{3145728, 25165824, 201326592, 1610612736, 12884901888}'::bigint[]
    )]
$$;

-- Keys: a one and after it the first bits of an id, so that keys of different lengths differ. Plans are to think it dear.
CREATE FUNCTION metricsd_list_keys(series bigint[], bits smallint) RETURNS integer[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
    SELECT array_agg((1 << bits) | ((id >> (64 - bits))::integer & ((1 << bits) - 1))) FROM unnest(series) AS id
$$;

-- The number of bits stands in the row: it grows with the store, and lists never change. Whoever does not know the column
-- leaves it to its default.
DO $$
BEGIN
    EXECUTE format(
        'ALTER TABLE layouts ADD COLUMN bits smallint NOT NULL DEFAULT %s CHECK (bits BETWEEN 11 AND 27)', metricsd_list_bits()
    );
    ALTER TABLE layouts ALTER COLUMN bits SET DEFAULT metricsd_list_bits();
END
$$;

DROP INDEX layouts_series;
CREATE INDEX layouts_keys ON layouts USING gin (metricsd_list_keys(series, bits)) WITH (fastupdate = off);

-- Which numbers of bits there are, beside the smallest.
CREATE INDEX layouts_bits ON layouts (bits) WHERE bits > 11;
