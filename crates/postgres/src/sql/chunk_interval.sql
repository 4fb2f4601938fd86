SELECT set_chunk_time_interval('frames', $1::text::interval)
FROM timescaledb_information.dimensions
WHERE hypertable_schema = current_schema AND hypertable_name = 'frames'
  AND column_name = 'time' AND time_interval <> $1::text::interval
