-- Whether the hypertable $1 has a chunk for the time $2.
SELECT EXISTS (
    SELECT FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema AND hypertable_name = $1 AND range_start <= $2 AND range_end > $2
)
